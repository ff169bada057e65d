//! A way back in by mail for somebody who forgot his password: 32 random bytes that the letter alone says. The database keeps
//! their hash, so whoever reads it cannot come in by it.

use std::time::Duration;

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use model::Result;

use crate::random;

/// How long a letter holds.
pub const LIFE: Duration = Duration::from_mins(30);

/// What a letter says.
pub fn new_token() -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random::bytes::<32>()?))
}

/// As its row is named.
pub fn id(token: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, token.as_bytes()))
}
