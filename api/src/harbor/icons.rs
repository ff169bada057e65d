//! Icons of artifacts, small pictures by digest.

use base64::{Engine, engine::general_purpose::STANDARD};
use model::{Error as Cause, What};
use oci::Digest;
use registry::icons;
use schemars::JsonSchema;
use serde::Serialize;

use super::{call::Call, error::Result, input::Json};

#[derive(Serialize, JsonSchema)]
pub(super) struct Icon {
    #[serde(rename = "content-type")]
    content_type: &'static str,
    /// In base64.
    content: String,
}

pub(super) async fn get(call: Call) -> Result<Json<Icon>> {
    let told = call.param("digest");
    let digest = Digest::parse(told).map_err(|_| {
        let shown: String = told.chars().take(100).collect();
        Cause::not_found(What::Blob, format!("the icon {shown} not found"))
    })?;
    let bytes = call.app().registry.icon(&digest).await?;
    Ok(Json(Icon {
        content_type: icons::CONTENT_TYPE,
        content: STANDARD.encode(&bytes),
    }))
}
