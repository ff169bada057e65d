//! Deleting: in bulk where the store can, one by one otherwise; and with an object of parts the segments that it has.

use futures_util::{StreamExt, stream};
use http::Method;

use super::{
    super::keys,
    Swift,
    client::{Call, To, encoded},
    large::SEGMENTS,
    report::{Report, code},
};
use crate::{Error, Result};

/// Calls at once.
const AT_ONCE: usize = 8;
/// Up to this many objects are not worth a call in bulk.
const FEW: usize = 4;

impl Swift {
    /// One that is not there is deleted already. Answers in the order of the keys.
    pub(crate) async fn delete(&self, keys: &[String]) -> Vec<Result<()>> {
        let holds_moved = self.holds_moved(keys).await;
        let is_large = |key: &str| {
            self.may_be_large(key) && (holds_moved || !keys::is_below_digest(self.below(key)))
        };
        let (large, plain): (Vec<_>, Vec<_>) = keys.iter().partition(|key| is_large(key));
        let plain = self.delete_plain(&plain).await;
        let large: Vec<_> = large
            .into_iter()
            .map(|key| self.delete_whole(key))
            .collect();
        let large: Vec<_> = stream::iter(large).buffered(AT_ONCE).collect().await;
        let (mut large, mut plain) = (large.into_iter(), plain.into_iter());
        let answers = keys.iter().map(|key| {
            let next = if is_large(key) {
                large.next()
            } else {
                plain.next()
            };
            next.expect("an answer for each")
        });
        answers.collect()
    }

    /// Whether one of these may be a large object below its digest, as contents become that came from another store. Where none ever did, all
    /// of them go in bulk. A list that is behind costs segments of what came a moment ago, nothing that counts.
    async fn holds_moved(&self, keys: &[String]) -> bool {
        if !keys
            .iter()
            .any(|key| keys::is_below_digest(self.below(key)))
        {
            return false;
        }
        let moved = format!("{}{SEGMENTS}{}", self.prefix, keys::BLOBS);
        // Where that is not known each is looked at.
        (self.list(&moved, None).await).map_or(true, |page| !page.found.is_empty())
    }

    async fn delete_plain(&self, keys: &[&String]) -> Vec<Result<()>> {
        let Some(most) = self.info.deletes.filter(|_| keys.len() > FEW) else {
            let each: Vec<_> = keys.iter().map(|key| self.delete_one(key)).collect();
            return stream::iter(each).buffered(AT_ONCE).collect().await;
        };
        let mut answers = Vec::with_capacity(keys.len());
        for keys in keys.chunks(most) {
            match self.delete_bulk(keys).await {
                Ok(deleted) => answers.extend(deleted),
                Err(error) => {
                    let why = error.to_string();
                    answers.extend(keys.iter().map(|key| Err(self.not_deleted(key, &why))));
                }
            }
        }
        answers
    }

    fn not_deleted(&self, key: &str, why: &str) -> Error {
        Error::Remote {
            what: "delete",
            key: self.client.shown(To::Object(key)),
            why: why.to_owned(),
            is_ours: false,
        }
    }

    pub(super) async fn delete_one(&self, key: &str) -> Result<()> {
        let call = Call::new("delete", Method::DELETE, To::Object(key));
        match self.client.send(&call).await {
            Ok(_) | Err(Error::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn delete_bulk(&self, keys: &[&String]) -> Result<Vec<Result<()>>> {
        let container = encoded(&self.client.container);
        let line = |key: &&String| format!("/{container}/{}\n", encoded(key));
        let mut call = Call::new("delete in bulk from", Method::POST, To::Account)
            .header("content-type", "text/plain")
            .header("accept", "application/json");
        call.query = &[("bulk-delete", "")];
        call.body = keys
            .iter()
            .map(line)
            .collect::<String>()
            .into_bytes()
            .into();
        let answer = self.client.send(&call).await?;
        let report = Report::read(&answer.body);
        let report = report
            .ok_or_else(|| self.not_deleted(keys[0], "the store did not say what is gone"))?;
        if report.errors.is_empty() && !report.is_success() {
            return Err(self.not_deleted(keys[0], &report.shown()));
        }
        let wrong = |key: &str| {
            let path = format!("{container}/{}", encoded(key));
            let same = |(name, _): &&(String, String)| name.trim_start_matches('/') == path;
            report.errors.iter().find(same)
        };
        let named = keys.iter().filter(|key| wrong(key).is_some()).count();
        if named < report.errors.len() {
            // One that is ours under a name that is not known here.
            return Err(self.not_deleted(keys[0], &report.shown()));
        }
        let answers = keys.iter().map(|key| match wrong(key) {
            Some((_, why)) if code(why) != Some(404) => Err(self.not_deleted(key, why)),
            _ => Ok(()),
        });
        Ok(answers.collect())
    }

    /// With its segments, and those that were sent and not named.
    async fn delete_whole(&self, key: &str) -> Result<()> {
        match self.look_closely(key).await? {
            // Segments go first and the manifest last, so that it may be tried again.
            Some(true) => self.delete_large(key).await?,
            // It may have been put over a large one.
            Some(false) => self.delete_one(key).await?,
            None => {}
        }
        self.delete_below(&self.segments_of(key)).await
    }

    async fn delete_large(&self, key: &str) -> Result<()> {
        let mut call = Call::new("delete", Method::DELETE, To::Object(key))
            .header("accept", "application/json");
        call.query = &[("multipart-manifest", "delete")];
        let answer = match self.client.send(&call).await {
            Err(Error::NotFound) => return Ok(()),
            answer => answer?,
        };
        let report = Report::read(&answer.body);
        let report =
            report.ok_or_else(|| self.not_deleted(key, "the store did not say what is gone"))?;
        let is_gone = |(_, why): &(String, String)| code(why) == Some(404);
        if report.is_success() || report.code() == Some(404) {
            return Ok(());
        }
        if !report.errors.is_empty() && report.errors.iter().all(is_gone) {
            return Ok(());
        }
        Err(self.not_deleted(key, &report.shown()))
    }

    /// Everything whose name begins so.
    pub(super) async fn delete_below(&self, prefix: &str) -> Result<()> {
        let mut token = None;
        loop {
            let page = self.list(prefix, token.as_deref()).await?;
            let keys: Vec<_> = page.found.iter().map(|object| &object.key).collect();
            for deleted in self.delete_plain(&keys).await {
                deleted?;
            }
            token = page.next;
            if token.is_none() {
                return Ok(());
            }
        }
    }
}
