//! Uploads in parts: segments that one manifest makes an object of, a static large object. No dynamic ones: what they hold is
//! whatever a list shows at the moment.
//!
//! ```text
//! PREFIX/begun/<key>/<id>                            an upload that has begun: it goes when it has ended
//! PREFIX/segments/<key>/<id>/<number>.<nonce>        a part
//! PREFIX/segments/<key>/<id>/m<number>.<nonce>       a manifest of a thousand parts, where there are more
//! ```
//! Segments stay what a content consists of, for its whole life, and Swift lets anybody who may write replace them. So no name
//! is given twice: a part that is sent again, or by somebody who was frozen meanwhile, is another object, and its tag holds its name. What is
//! named by no manifest goes with the content, or with the upload.
//!
//! They lie in the same container as all the rest: it exists, whoever was let into it is let into all of it, and one prefix
//! keeps one registry.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::Method;
use object_store::client::HttpError;
use serde_json::{Value, json};

use super::{
    super::{
        bucket::{Begun, Page},
        exchange::{said, status},
        fault::fault,
        keys::{self, BEGUN},
        progress::Part,
    },
    Swift,
    client::{Call, To},
    report::{Report, code},
};
use crate::{Error, Result};

/// Below which the segments of all large objects lie.
pub(super) const SEGMENTS: &str = "segments/";
/// Sub-manifests of one object: with all of their segments as many as Swift keeps in mind when it deletes them (ten times what one
/// manifest may have), less what it keeps beside.
const MANIFESTS: u32 = 9;
/// How often a manifest is sent whose segments are not all seen yet, and the pause between.
const TRIES: u32 = 3;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(500);

/// How a manifest was not taken.
enum Refused {
    /// There is such an object already.
    Exists,
    /// Segments that it names are not there, or others are.
    Segments(String),
    Otherwise(HttpError),
}

/// The call that makes an object of segments.
fn manifest<'a>(key: &'a str, segments: &[Value]) -> Call<'a> {
    let mut call = Call::new("complete", Method::PUT, To::Object(key))
        .header("content-type", "application/octet-stream")
        .header("accept", "application/json");
    call.query = &[("multipart-manifest", "put"), ("heartbeat", "on")];
    call.body = Value::from(segments.to_vec())
        .to_string()
        .into_bytes()
        .into();
    call
}

/// The tag without its quotes. Without one nobody has said that the object was made.
fn tagged(etag: &str) -> Result<String, Refused> {
    match etag.trim_matches('"') {
        "" => Err(Refused::Otherwise(said(
            "the answer does not say whether the object was made",
        ))),
        tag => Ok(tag.to_owned()),
    }
}

impl Swift {
    /// Parts of one upload at most.
    pub(crate) fn most_parts(&self) -> u32 {
        let manifests = if self.info.nests { MANIFESTS } else { 1 };
        self.info.segments.saturating_mul(manifests).min(10_000)
    }

    fn mark(&self, key: &str, id: &str) -> String {
        format!("{}{BEGUN}{}/{id}", self.prefix, self.below(key))
    }

    /// What the names of all segments for an object begin with.
    pub(super) fn segments_of(&self, key: &str) -> String {
        format!("{}{SEGMENTS}{}/", self.prefix, self.below(key))
    }

    pub(crate) async fn begin(&self, key: &str) -> Result<String> {
        let id = keys::new_name();
        self.put(&self.mark(key, &id), Vec::new()).await?;
        Ok(id)
    }

    /// Answers its tag: what is behind its number in its name, and the store's tag of it.
    pub(crate) async fn put_part(
        &self,
        key: &str,
        id: &str,
        number: u32,
        frames: Vec<Bytes>,
    ) -> Result<String> {
        let nonce = keys::new_name();
        let segment = self.segment(key, id, number, &nonce);
        let tag = self.put(&segment, frames).await?;
        // Who had ended the upload by then has not seen this one.
        if self.look_closely(&self.mark(key, id)).await?.is_none() {
            self.delete_one(&segment).await?;
            return Err(Error::NotFound);
        }
        Ok(format!("{nonce}/{tag}"))
    }

    fn segment(&self, key: &str, id: &str, number: u32, nonce: &str) -> String {
        format!("{}{id}/{number:05}.{nonce}", self.segments_of(key))
    }

    /// [`Error::NotFound`] also where there is such an object already: another request has completed it, and the caller looks.
    pub(crate) async fn complete(&self, key: &str, id: &str, parts: &[Part]) -> Result<()> {
        let mut named = Vec::with_capacity(parts.len());
        for Part { number, size, tag } in parts {
            let (nonce, tag) = tag.split_once('/').ok_or(Error::NotFound)?;
            named.push(self.named(&self.segment(key, id, *number, nonce), tag, *size));
        }
        if named.len() > self.info.segments as usize {
            named = self.nested(key, id, &named).await?;
        }
        let call = manifest(key, &named).header("if-none-match", "*");
        self.put_manifest(&call).await?;
        if let Err(error) = self.delete_one(&self.mark(key, id)).await {
            tracing::warn!(%error, "the mark of an upload that has ended stays until it expires");
        }
        Ok(())
    }

    /// A segment as a manifest names it.
    fn named(&self, segment: &str, tag: &str, size: u64) -> Value {
        let path = format!("/{}/{segment}", self.client.container);
        json!({ "path": path, "etag": tag, "size_bytes": size })
    }

    /// Manifests of as many segments as one may have; named as segments themselves. Their names are new, so that they need no condition:
    /// with one, a call that is repeated since its answer was lost would be refused for what it did itself.
    async fn nested(&self, key: &str, id: &str, segments: &[Value]) -> Result<Vec<Value>> {
        let mut named = Vec::new();
        for (n, some) in segments.chunks(self.info.segments as usize).enumerate() {
            let name = format!("{}{id}/m{n:05}.{}", self.segments_of(key), keys::new_name());
            let tag = self.put_manifest(&manifest(&name, some)).await?;
            let size = some
                .iter()
                .filter_map(|segment| segment["size_bytes"].as_u64())
                .sum();
            named.push(self.named(&name, &tag, size));
        }
        Ok(named)
    }

    /// Answers the tag of the object that it makes.
    async fn put_manifest(&self, call: &Call<'_>) -> Result<String> {
        for tried in 1.. {
            match self.try_manifest(call).await {
                Ok(tag) => return Ok(tag),
                Err(Refused::Exists) => return Err(Error::NotFound),
                Err(Refused::Segments(why)) if tried == TRIES => {
                    let key = self.client.shown(call.to);
                    tracing::info!(key, why, "parts of an upload are not there any more");
                    return Err(Error::NotFound);
                }
                // A copy that is behind is asked no more a moment later.
                Err(Refused::Segments(_)) => tokio::time::sleep(PAUSE).await,
                Err(Refused::Otherwise(error)) => {
                    return Err(fault("complete", &self.client.shown(call.to), &error));
                }
            }
        }
        Err(Error::NotFound)
    }

    async fn try_manifest(&self, call: &Call<'_>) -> Result<String, Refused> {
        let answer = self
            .client
            .try_send(call)
            .await
            .map_err(|error| match status(&error) {
                Some(412) => Refused::Exists,
                // Ceph says no more than that.
                Some(404) => Refused::Segments(error.to_string()),
                _ => Refused::Otherwise(error),
            })?;
        // With the first heartbeat everything is accepted, and the answer stands behind the last.
        // Ceph sends none, and a tag with its head.
        let Some(report) = Report::read(&answer.body) else {
            return tagged(answer.header("etag"));
        };
        if report.is_success() {
            return tagged(&report.etag);
        }
        let is_away = |(_, why): &(String, String)| code(why).is_some_and(|code| code >= 500);
        match report.code() {
            Some(412) => Err(Refused::Exists),
            Some(400) if !report.errors.is_empty() && !report.errors.iter().any(is_away) => {
                Err(Refused::Segments(report.shown()))
            }
            _ => Err(Refused::Otherwise(said(report.shown()))),
        }
    }

    /// What had become an object stays one: then the mark alone goes.
    pub(crate) async fn abort(&self, key: &str, id: &str) -> Result<()> {
        let is_whole = self.look_closely(key).await?.is_some();
        let segments = format!("{}{id}/", self.segments_of(key));
        // The mark stays until all is gone that it tells of; and what was sent until it went is seen afterwards.
        if !is_whole {
            self.delete_below(&segments).await?;
        }
        self.delete_one(&self.mark(key, id)).await?;
        if !is_whole {
            self.delete_below(&segments).await?;
        }
        Ok(())
    }

    pub(crate) async fn begun(&self, prefix: &str, token: Option<&str>) -> Result<Page<Begun>> {
        let marks = format!("{}{BEGUN}", self.prefix);
        let prefix = format!("{marks}{}", self.below(prefix));
        let page = self.list(&prefix, token).await?;
        let found = page.found.into_iter().filter_map(|mark| {
            let (key, id) = mark.key.strip_prefix(&marks)?.rsplit_once('/')?;
            Some(Begun {
                key: format!("{}{key}", self.prefix),
                id: id.to_owned(),
                begun: mark.modified,
            })
        });
        Ok(Page {
            found: found.collect(),
            next: page.next,
        })
    }
}
