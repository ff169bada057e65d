//! The smallest answers: that somebody is there, and which API he speaks.

use schemars::JsonSchema;
use serde::Serialize;

use super::{answer::Plain, call::Call, error::Result, input::Json, openapi, routes};

pub(super) async fn ping(_: Call) -> Result<Plain> {
    Ok(Plain::text("Pong"))
}

/// What another Harbor asks before it speaks to us.
#[derive(Serialize, JsonSchema)]
pub(super) struct ApiVersion {
    version: &'static str,
}

pub(super) async fn version(_: Call) -> Result<Json<ApiVersion>> {
    Ok(Json(ApiVersion { version: "v2.0" }))
}

pub(super) async fn document(_: Call) -> Result<Json<serde_json::Value>> {
    Ok(Json(openapi::document(routes())))
}
