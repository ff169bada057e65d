//! The smallest answers: that somebody is there, and which API he speaks.

use std::sync::OnceLock;

use bytes::Bytes;

use super::{answer::Plain, call::Call, error::Result, openapi, routes};
use crate::body::Body;

pub(super) async fn ping(_: Call) -> Result<Plain> {
    Ok(Plain::text("Pong"))
}

/// What another Harbor asks before it speaks to us. Harbor names no type, so clients see it as text.
pub(super) async fn version(_: Call) -> Result<Plain> {
    Ok(Plain::text("{\"version\":\"v2.0\"}"))
}

/// Made once: it is the same for everybody.
pub(super) async fn document(_: Call) -> Result<Plain> {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let bytes = DOCUMENT.get_or_init(|| openapi::document(routes()).to_string().into());
    Ok(Plain {
        media_type: "application/json; charset=utf-8",
        body: Body::whole(bytes.clone()),
        file_name: None,
    })
}
