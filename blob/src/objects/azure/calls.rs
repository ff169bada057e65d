//! What the crate `object_store` lacks for Azure.
//!
//! An upload in parts has no name there. Its parts are blocks that were sent under the name of a blob and are gone a week later
//! unless a list of blocks commits them. What others' uploads are, that stands on:
//!
//! - **Begin** writes an empty blob below `begun/`, by whose list and age uploads that nobody goes on with are found: a list of
//!   uncommitted blobs has no times, and cannot be had without all others.
//! - **A part** is a block with an id of its own, even if its number was sent before. The id is its tag: a list names those
//!   blocks alone that its row knows, and committing it drops all others.
//! - **Complete** commits only where no blob is yet. So an end that comes late, with blocks of somebody else, changes no content; it
//!   is told that the upload is no more, as by S3.
//! - **Abort** commits nothing where no blob is yet, which drops the blocks, and deletes that.

use std::{fmt::Write as _, time::SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::{
    Error, Result,
    objects::{
        bucket::{Begun, Object, Page},
        keys,
        progress::Part,
        send::{Call, Sender},
        xml::{self, Root},
    },
};

/// A page of a list; what Azure allows at most.
const PAGE: &str = "5000";
/// Blobs that are deleted at once, where they are deleted one by one.
const AT_ONCE: usize = 10;

pub(crate) struct Calls {
    /// Its address is the account's.
    pub(crate) sender: Sender,
    pub(crate) container: String,
    /// The bucket's: empty, or with a slash at its end.
    pub(crate) prefix: String,
    /// What whole blobs are stored in.
    pub(crate) tier: Option<String>,
    /// Whether many blobs are deleted one by one: a shared access signature need not be good for a batch (with Azurite it never is).
    pub(crate) is_single: bool,
}

impl Calls {
    /// Below the account's address.
    fn path(&self, key: &str) -> String {
        format!("{}/{key}", self.container)
    }

    /// The blob that tells of an upload in parts.
    fn mark(&self, key: &str) -> String {
        let below = key.strip_prefix(&self.prefix).unwrap_or(key);
        format!("{}{}{below}", self.prefix, keys::BEGUN)
    }

    pub(crate) async fn begin(&self, key: &str) -> Result<String> {
        let path = self.path(&self.mark(key));
        let begun = self.sender.send(Call {
            headers: &[("x-ms-blob-type", "BlockBlob")],
            ..Call::new("begin", Method::PUT, &path, &[])
        });
        begun.await?;
        Ok(String::new())
    }

    pub(crate) async fn complete(&self, key: &str, parts: &[Part]) -> Result<()> {
        if self.commit("complete", key, parts).await?.is_none() {
            return Err(Error::NotFound);
        }
        // Who finds it there later has nothing to give up.
        if let Err(error) = self.delete(&self.mark(key), None).await {
            tracing::debug!(%error, key, "the upload's mark stays until it is swept");
        }
        Ok(())
    }

    pub(crate) async fn abort(&self, key: &str) -> Result<()> {
        let ours = match self.commit("abort", key, &[]).await? {
            Some(etag) => Some(etag),
            None => self.find_empty(key).await?,
        };
        if let Some(etag) = ours {
            self.delete(key, Some(&etag)).await?;
        }
        self.delete(&self.mark(key), None).await
    }

    /// The tag of a blob without bytes, which is no content's: another abort, or this one when its answer was lost, has made it.
    async fn find_empty(&self, key: &str) -> Result<Option<String>> {
        let path = self.path(key);
        let call = Call::new("look at", Method::HEAD, &path, &[]);
        match self.sender.try_send(call).await {
            Ok(answer) => {
                let is_empty = answer.header("content-length") == "0";
                let etag = answer.header("etag").to_owned();
                Ok(Some(etag).filter(|etag| is_empty && !etag.is_empty()))
            }
            Err(failed) => match failed.status() {
                Some(StatusCode::NOT_FOUND) => Ok(None),
                _ => Err(failed.into_error("look at", &path)),
            },
        }
    }

    /// Makes a blob of blocks where there is none; answers its tag, or none where there is one.
    async fn commit(
        &self,
        what: &'static str,
        key: &str,
        parts: &[Part],
    ) -> Result<Option<String>> {
        let mut body = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
        for Part { tag, .. } in parts {
            let id = BASE64_STANDARD.encode(tag);
            let _ = write!(body, "<Uncommitted>{id}</Uncommitted>");
        }
        body.push_str("</BlockList>");
        let mut headers = vec![("if-none-match", "*"), ("content-type", "application/xml")];
        let tier = self.tier.as_deref().filter(|_| !parts.is_empty());
        headers.extend(tier.map(|tier| ("x-ms-access-tier", tier)));
        let path = self.path(key);
        let committed = self.sender.try_send(Call {
            headers: &headers,
            body: body.into(),
            ..Call::new(what, Method::PUT, &path, &[("comp", "blocklist")])
        });
        match committed.await {
            Ok(answer) => match answer.header("etag") {
                "" => Ok(Some("*".to_owned())),
                etag => Ok(Some(etag.to_owned())),
            },
            Err(failed) if failed.is(&["BlobAlreadyExists", "ConditionNotMet"]) => Ok(None),
            Err(failed) => Err(failed.into_error(what, &path)),
        }
    }

    /// One that is not there is deleted already; so is one that has another tag.
    async fn delete(&self, key: &str, etag: Option<&str>) -> Result<()> {
        let path = self.path(key);
        let headers: Vec<_> = etag.map(|etag| ("if-match", etag)).into_iter().collect();
        let deleted = self.sender.try_send(Call {
            headers: &headers,
            ..Call::new("delete", Method::DELETE, &path, &[])
        });
        match deleted.await {
            Ok(_) => Ok(()),
            Err(failed) => match failed.status() {
                Some(StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED) => Ok(()),
                _ => Err(failed.into_error("delete", &path)),
            },
        }
    }

    /// Deletes many, some at once; answers in the order of the keys.
    pub(crate) async fn delete_each(&self, keys: &[String]) -> Vec<Result<()>> {
        let mut answers = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            let deletes: Vec<_> = keys.iter().map(|key| self.delete(key, None)).collect();
            answers.extend(join_all(deletes).await);
        }
        answers
    }

    pub(crate) async fn list(&self, prefix: &str, token: Option<&str>) -> Result<Page<Object>> {
        let mut query = vec![
            ("restype", "container"),
            ("comp", "list"),
            ("prefix", prefix),
            ("maxresults", PAGE),
        ];
        query.extend(token.map(|token| ("marker", token)));
        let call = Call::new("list", Method::GET, &self.container, &query);
        let answer = self.sender.send(call).await?;
        let page: EnumerationResults = xml::read("list", prefix, &answer.body)?;
        // Where a container has directories they are listed too.
        let blobs = page.blobs.blobs.into_iter();
        let blobs = blobs.filter(|blob| blob.properties.kind.as_deref() != Some("directory"));
        Ok(Page {
            found: blobs.map(Blob::into_object).collect(),
            next: page.next.filter(|next| !next.is_empty()),
        })
    }

    pub(crate) async fn begun(&self, prefix: &str, token: Option<&str>) -> Result<Page<Begun>> {
        let marks = self.mark("");
        let page = self.list(&self.mark(prefix), token).await?;
        let found = page.found.into_iter().filter_map(|mark| {
            let below = mark.key.strip_prefix(&marks)?;
            Some(Begun {
                key: format!("{}{below}", self.prefix),
                id: String::new(),
                begun: mark.modified,
            })
        });
        Ok(Page {
            found: found.collect(),
            next: page.next,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EnumerationResults {
    #[serde(default)]
    blobs: Blobs,
    #[serde(rename = "NextMarker")]
    next: Option<String>,
}

impl Root for EnumerationResults {
    const ROOT: &'static str = "EnumerationResults";
}

#[derive(Default, Deserialize)]
struct Blobs {
    #[serde(default, rename = "Blob")]
    blobs: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: Name,
    properties: Properties,
}

#[derive(Deserialize)]
struct Name {
    /// Where XML has no words for it.
    #[serde(default, rename = "@Encoded")]
    is_encoded: bool,
    #[serde(default, rename = "$text")]
    text: String,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "Last-Modified")]
    modified: Option<String>,
    #[serde(default, rename = "Content-Length")]
    size: u64,
    #[serde(rename = "ResourceType")]
    kind: Option<String>,
}

impl Blob {
    fn into_object(self) -> Object {
        let Name { is_encoded, text } = self.name;
        let modified = self.properties.modified.as_deref();
        Object {
            key: if is_encoded {
                let decoded = percent_encoding::percent_decode_str(&text);
                decoded.decode_utf8_lossy().into_owned()
            } else {
                text
            },
            size: self.properties.size,
            // The distant past for what is none, so that nobody takes it for new.
            modified: modified
                .and_then(|text| httpdate::parse_http_date(text).ok())
                .unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}
