//! Robots' secrets. One that we made has 190 random bits: nobody guesses it, so a fast salted hash is enough and a CI job's
//! login costs no CPU. One that a person chose is hashed like a password.

use aws_lc_rs::{constant_time, digest};
use model::{Result, name::check_password};

use crate::{password, random};

const LENGTH: usize = 32;

/// Begins the stored form: `secret-sha256:<salt>:<hex>`.
pub(crate) const NOTATION: &str = "secret-sha256:";

/// A fresh secret, to be shown once, and what is kept of it.
pub struct NewSecret {
    pub text: String,
    pub hash: String,
}

/// 32 letters and digits that satisfy the password rule, as Harbor makes them.
pub fn new_secret() -> Result<NewSecret> {
    let text = loop {
        let text = random::text(LENGTH)?;
        if check_password(&text).is_ok() {
            break text;
        }
    };
    let salt = random::text(16)?;
    let hash = format!("{NOTATION}{salt}:{}", hex::encode(digest_of(&salt, &text)));
    Ok(NewSecret { text, hash })
}

/// What is kept of a secret that a person chose; refuses one that breaks the password rule. As slow as `password::hash`.
pub fn hash_chosen(secret: &str) -> Result<String> {
    check_password(secret)?;
    password::hash(secret)
}

/// `kept` is the stored form without its beginning.
pub(crate) fn is_secret(kept: &str, secret: &str) -> bool {
    let Some((salt, hex)) = kept.split_once(':') else {
        return false;
    };
    let Ok(digest) = hex::decode(hex) else {
        return false;
    };
    constant_time::verify_slices_are_equal(digest_of(salt, secret).as_ref(), &digest).is_ok()
}

fn digest_of(salt: &str, secret: &str) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [salt.as_bytes(), b":", secret.as_bytes()] {
        context.update(part);
    }
    context.finish()
}
