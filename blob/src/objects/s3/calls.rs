//! The calls of S3 that the crate `object_store` lacks: completing with the numbers that parts have,
//! and lists that no foreign key can break.

use std::{fmt::Write as _, time::SystemTime};

use http::Method;
use serde::Deserialize;

use crate::{
    Error, Result,
    objects::{
        bucket::{Begun, Object, Page},
        progress::Part,
        send::{Call, Sender},
        xml::{self, Root},
    },
};

/// A page of a list; what vendors allow at most.
const PAGE: &str = "1000";

pub(crate) struct Calls {
    pub(crate) sender: Sender,
}

impl Calls {
    /// Makes one object of parts. An error does not say that it was not done.
    pub(crate) async fn complete(&self, key: &str, id: &str, parts: &[Part]) -> Result<()> {
        let mut body = String::from("<CompleteMultipartUpload>");
        for Part { number, tag, .. } in parts {
            // Google reads no escaped quotes.
            let tag = quick_xml::escape::partial_escape(tag);
            let _ = write!(
                body,
                "<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"
            );
        }
        body.push_str("</CompleteMultipartUpload>");
        let query = [("uploadId", id)];
        let answer = self.sender.send(Call {
            body: body.into(),
            ..Call::new("complete", Method::POST, key, &query)
        });
        // S3 sends 200 before it knows, and the error then follows in the body.
        let answer = answer.await?.body;
        let text = String::from_utf8_lossy(&answer);
        if !text.contains("<CompleteMultipartUploadResult") {
            return Err(Error::Remote {
                what: "complete",
                key: key.to_owned(),
                why: text.chars().take(300).collect(),
                is_ours: false,
            });
        }
        Ok(())
    }

    pub(crate) async fn list(&self, prefix: &str, token: Option<&str>) -> Result<Page<Object>> {
        let mut query = vec![
            ("encoding-type", "url"),
            ("list-type", "2"),
            ("max-keys", PAGE),
            ("prefix", prefix),
        ];
        query.extend(token.map(|token| ("continuation-token", token)));
        let call = Call::new("list", Method::GET, "", &query);
        let answer = self.sender.send(call).await?;
        let page: ListBucketResult = xml::read("list", prefix, &answer.body)?;
        let is_encoded = page.encoding_type.as_deref() == Some("url");
        let objects = page.contents.into_iter().map(|found| Object {
            key: decoded(found.key, is_encoded),
            size: found.size,
            modified: time(&found.last_modified),
        });
        Ok(Page {
            found: objects.collect(),
            next: page.next.filter(|_| page.is_truncated),
        })
    }

    /// Uploads in parts that are neither completed nor aborted.
    pub(crate) async fn begun(&self, prefix: &str, token: Option<&str>) -> Result<Page<Begun>> {
        let (key, id) = token.and_then(|token| token.split_once('\n')).unzip();
        let mut query = vec![
            ("encoding-type", "url"),
            ("max-uploads", PAGE),
            ("prefix", prefix),
            ("uploads", ""),
        ];
        query.extend(key.map(|key| ("key-marker", key)));
        query.extend(id.map(|id| ("upload-id-marker", id)));
        query.sort_unstable();
        let call = Call::new("list uploads", Method::GET, "", &query);
        let answer = self.sender.send(call).await?;
        let page: ListMultipartUploadsResult = xml::read("list uploads", prefix, &answer.body)?;
        let is_encoded = page.encoding_type.as_deref() == Some("url");
        let next = match (page.is_truncated, page.next_key, page.next_id) {
            (true, Some(key), Some(id)) => Some(format!("{}\n{id}", decoded(key, is_encoded))),
            _ => None,
        };
        let found = page.uploads.into_iter().map(|upload| Begun {
            key: decoded(upload.key, is_encoded),
            id: upload.id,
            begun: upload
                .initiated
                .as_deref()
                .map_or(SystemTime::UNIX_EPOCH, time),
        });
        Ok(Page {
            found: found.collect(),
            next,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBucketResult {
    #[serde(default)]
    contents: Vec<Contents>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(rename = "NextContinuationToken")]
    next: Option<String>,
    encoding_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    last_modified: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListMultipartUploadsResult {
    #[serde(default, rename = "Upload")]
    uploads: Vec<Upload>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(rename = "NextKeyMarker")]
    next_key: Option<String>,
    #[serde(rename = "NextUploadIdMarker")]
    next_id: Option<String>,
    encoding_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    #[serde(rename = "UploadId")]
    id: String,
    initiated: Option<String>,
}

impl Root for ListBucketResult {
    const ROOT: &'static str = "ListBucketResult";
}

impl Root for ListMultipartUploadsResult {
    const ROOT: &'static str = "ListMultipartUploadsResult";
}

fn decoded(key: String, is_encoded: bool) -> String {
    if !is_encoded {
        return key;
    }
    let spaced = key.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced)
        .decode_utf8_lossy()
        .into_owned()
}

/// RFC 3339, as lists write it; the distant past for what is none, so that nobody takes it for new.
fn time(text: &str) -> SystemTime {
    text.parse::<jiff::Timestamp>()
        .map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
}
