//! What the crate `object_store` does not repeat for Google when an answer is lost: the begin and the end of an upload in parts.

use http::Method;
use serde::Deserialize;

use crate::{
    Result,
    objects::{
        s3,
        send::Call,
        xml::{self, Root},
    },
};

pub(crate) struct Calls {
    /// Lists, and completing, are as with S3.
    pub(crate) xml: s3::Calls,
    /// What objects are stored in.
    pub(crate) class: Option<String>,
}

impl Calls {
    pub(crate) async fn begin(&self, key: &str) -> Result<String> {
        let mut headers = vec![("content-type", "application/octet-stream")];
        let class = self.class.as_deref();
        headers.extend(class.map(|class| ("x-goog-storage-class", class)));
        let call = Call {
            headers: &headers,
            ..Call::new("begin", Method::POST, key, &[("uploads", "")])
        };
        let answer = self.xml.sender.send(call).await?;
        let begun: InitiateMultipartUploadResult = xml::read("begin", key, &answer.body)?;
        Ok(begun.id)
    }

    pub(crate) async fn abort(&self, key: &str, id: &str) -> Result<()> {
        let query = [("uploadId", id)];
        let call = Call::new("abort", Method::DELETE, key, &query);
        self.xml.sender.send(call).await.map(drop)
    }
}

#[derive(Deserialize)]
struct InitiateMultipartUploadResult {
    #[serde(rename = "UploadId")]
    id: String,
}

impl Root for InitiateMultipartUploadResult {
    const ROOT: &'static str = "InitiateMultipartUploadResult";
}
