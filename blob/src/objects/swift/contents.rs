//! Objects as a whole: put, read, look at, list. Keys are whole: with the bucket's prefix.

use std::{ops::Range, time::SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, Method, StatusCode};
use md5::{Digest as _, Md5};
use object_store::{PutPayload, client::HttpError};
use serde::Deserialize;

use super::{
    super::{
        bucket::{Object, Page},
        exchange::{QUICK, said, status, text},
        fault::fault,
        reading::Opened,
    },
    Swift,
    client::{Call, To},
};
use crate::{Error, Result, error::stopped};

/// A page of a list.
const PAGE: usize = 1000;
/// Objects that are looked at at once.
const AT_ONCE: usize = 8;
/// Below this a hash is not worth a thread.
const SMALL: usize = 64 << 10;

/// The tag that the bytes have, by which the store checks what it got.
pub(crate) async fn tag_of(frames: Vec<Bytes>) -> Result<String> {
    let is_small = frames.iter().map(Bytes::len).sum::<usize>() <= SMALL;
    let hash = move || {
        let mut hasher = Md5::new();
        for frame in &frames {
            hasher.update(frame);
        }
        hex::encode(hasher.finalize())
    };
    if is_small {
        return Ok(hash());
    }
    tokio::task::spawn_blocking(hash).await.map_err(stopped)
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    bytes: u64,
    last_modified: String,
    /// Of a static large object, whose size is then that of its bytes.
    slo_etag: Option<String>,
}

impl Swift {
    pub(crate) async fn put(&self, key: &str, frames: Vec<Bytes>) -> Result<String> {
        let tag = tag_of(frames.clone()).await?;
        let mut call = put_call(key).header("etag", &tag);
        call.body = PutPayload::from_iter(frames);
        self.put_sent(&call).await?;
        Ok(tag)
    }

    pub(crate) async fn put_new(&self, key: &str, bytes: Bytes) -> Result<()> {
        let mut call = put_call(key).header("if-none-match", "*");
        call.body = PutPayload::from(bytes);
        match self.client.try_send(&call).await {
            Err(error) if status(&error) != Some(412) => Err(self.refused_put(&call, &error)),
            _ => Ok(()),
        }
    }

    async fn put_sent(&self, call: &Call<'_>) -> Result<()> {
        let sent = self.client.try_send(call).await;
        sent.map(drop)
            .map_err(|error| self.refused_put(call, &error))
    }

    /// Nothing but the container can be missing where something is put.
    fn refused_put(&self, call: &Call<'_>, error: &HttpError) -> Error {
        match self.client.fault(call, error) {
            Error::NotFound => self.client.no_container(),
            error => error,
        }
    }

    /// The bytes of a range, or all, for as long as the connection holds.
    pub(crate) async fn open_object(&self, key: &str, range: Option<Range<u64>>) -> Result<Opened> {
        let client = &self.client;
        let mut call = Call::new("get", Method::GET, To::Object(key));
        call.patience = QUICK;
        if let Some(range) = &range {
            let last = range.end.saturating_sub(1);
            call = call.header("range", format!("bytes={}-{last}", range.start));
        }
        let shown = client.shown(call.to);
        let opened = client
            .open(&call)
            .await
            .map_err(|error| match status(&error) {
                // A static large object of which a segment is missing, or another.
                Some(409) => Error::Damaged(format!("a part of `{shown}` is missing")),
                _ => client.fault(&call, &error),
            });
        let (head, body) = match opened {
            Err(Error::NotFound) => return Err(client.missing().await),
            opened => opened?.into_parts(),
        };
        let told = match head.status {
            StatusCode::PARTIAL_CONTENT => {
                let range = text(&head.headers, "content-range");
                range.rsplit('/').next().and_then(|size| size.parse().ok())
            }
            _ if range.as_ref().is_some_and(|range| range.start > 0) => None,
            _ => size(&head.headers),
        };
        let why = "it is not the range that was asked for";
        let size = told.ok_or_else(|| client.fault(&call, &said(why)))?;
        let tag = text(&head.headers, "etag").trim_matches('"');
        Ok(Opened {
            size,
            tag: (!tag.is_empty()).then(|| tag.to_owned()),
            body: body
                .bytes_stream()
                .map_err(move |error| fault("get", &shown, &error))
                .boxed(),
        })
    }

    pub(crate) async fn head(&self, key: &str) -> Result<u64> {
        let mut call = Call::new("look at", Method::HEAD, To::Object(key));
        call.patience = QUICK;
        let looked = match self.client.send(&call).await {
            Err(Error::NotFound) => return Err(self.client.missing().await),
            looked => looked?,
        };
        size(&looked.headers).ok_or_else(|| self.client.fault(&call, &said("it has no size")))
    }

    /// Whether it is there, asked of all that may have it, and whether it is a static large object.
    pub(crate) async fn look_closely(&self, key: &str) -> Result<Option<bool>> {
        let call = Call::new("look at", Method::HEAD, To::Object(key)).header("x-newest", "true");
        match self.client.send(&call).await {
            Ok(looked) => Ok(Some(
                looked
                    .header("x-static-large-object")
                    .eq_ignore_ascii_case("true"),
            )),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn list(&self, prefix: &str, token: Option<&str>) -> Result<Page<Object>> {
        let limit = PAGE.to_string();
        let mut query = vec![("format", "json"), ("limit", &limit), ("prefix", prefix)];
        query.extend(token.map(|token| ("marker", token)));
        let mut call = Call::new("list", Method::GET, To::Container);
        call.query = &query;
        let answer = match self.client.send(&call).await {
            Err(Error::NotFound) => return Err(self.client.no_container()),
            answer => answer?,
        };
        let listed: Vec<Listed> = match answer.body.as_ref() {
            // Old ones say that there is nothing by saying nothing.
            b"" => Vec::new(),
            body => serde_json::from_slice(body)
                .map_err(|error| self.client.fault(&call, &said(error.to_string())))?,
        };
        // A page may be short before the end, so that an empty one alone is the end.
        let next = listed.last().map(|last| last.name.clone());
        let found: Vec<_> = listed
            .into_iter()
            .map(|listed| self.found(listed))
            .collect();
        let found = stream::iter(found).buffered(AT_ONCE).try_collect();
        Ok(Page {
            found: found.await?,
            next,
        })
    }

    async fn found(&self, listed: Listed) -> Result<Object> {
        let mut size = listed.bytes;
        // Ceph's lists tell of a large object the size of its manifest.
        if !self.info.nests && listed.slo_etag.is_none() && self.may_be_large(&listed.name) {
            match self.head(&listed.name).await {
                Ok(whole) => size = whole,
                // It went meanwhile.
                Err(Error::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Object {
            size,
            key: listed.name,
            modified: time(&listed.last_modified),
        })
    }
}

fn put_call(key: &str) -> Call<'_> {
    let call = Call::new("put", Method::PUT, To::Object(key));
    call.header("content-type", "application/octet-stream")
}

fn size(headers: &HeaderMap) -> Option<u64> {
    text(headers, "content-length").parse().ok()
}

/// As lists write it, in UTC without saying so, or with a `Z`; the distant past for what is none, so that nobody takes it for new.
fn time(text: &str) -> SystemTime {
    let text = text.trim_end_matches('Z');
    format!("{text}Z")
        .parse::<jiff::Timestamp>()
        .map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_of_lists_are_read() {
        let expected = SystemTime::UNIX_EPOCH + Duration::from_millis(1_796_024_209_500);
        assert_eq!(time("2026-11-30T07:36:49.500000"), expected);
        assert_eq!(time("2026-11-30T07:36:49.500Z"), expected);
        assert_eq!(time("yesterday"), SystemTime::UNIX_EPOCH);
    }

    #[tokio::test]
    async fn a_tag_is_the_md5_of_all_frames() {
        let frames = vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
        assert_eq!(
            tag_of(frames).await.unwrap(),
            "900150983cd24fb0d6963f7d28e17f72"
        );
    }
}
