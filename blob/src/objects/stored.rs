//! Stored content in a bucket: put, read, check, delete; and what uploads left.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::TryStreamExt;
use oci::digest::{Algorithm, Digest};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Objects, Progress, keys, keys::Location};
use crate::{
    Damage, Error, Result, Unfinished, Verdict, digest_of,
    error::stopped,
    hash::{Hasher, expect_digest},
    names,
    verify::Pace,
};

/// How much one call reads of what is hashed.
const STEP: u64 = 32 << 20;

impl Objects {
    /// Stores small content in one step. Replaces what lies there.
    pub(crate) async fn put(&self, digest: &Digest, location: &str, bytes: Bytes) -> Result<()> {
        expect_digest(digest, digest_of(digest.algorithm(), &bytes))?;
        let object = Location::parse(location)?.object(digest);
        self.bucket.put(&object, vec![bytes]).await
    }

    /// Reads content of at most `max` bytes whole and checks its digest.
    pub(crate) async fn read(&self, digest: &Digest, location: &str, max: usize) -> Result<Bytes> {
        let object = Location::parse(location)?.object(digest);
        let read = self.bucket.read(&object, max as u64).await?;
        let bytes = read.ok_or(Error::NotFound)?;
        let actual = digest_of(digest.algorithm(), &bytes);
        if actual != *digest {
            return Err(Error::Damaged(format!("`{digest}` reads as `{actual}`")));
        }
        Ok(bytes)
    }

    pub(crate) async fn look(&self, digest: &Digest, location: &str, len: u64) -> Result<()> {
        let object = Location::parse(location)?.object(digest);
        match self.bucket.head(&object).await? {
            None => Err(Error::NotFound),
            Some(size) if size == len => Ok(()),
            Some(size) => Err(Error::Damaged(format!(
                "`{digest}` has {size} bytes, not {len}"
            ))),
        }
    }

    pub(crate) async fn try_write(&self) -> Result<()> {
        let trial = format!("{}{}", keys::TRIALS, keys::new_name());
        self.bucket
            .put(&trial, vec![Bytes::from_static(b"trial\n")])
            .await?;
        let mut deleted = self.bucket.delete(&[trial]).await;
        deleted.pop().unwrap_or(Ok(()))
    }

    /// Reads stored content and compares its digest, at most `rate` bytes a second.
    pub(crate) async fn verify(
        &self,
        digest: &Digest,
        location: &str,
        rate: Option<u64>,
        cancel: &CancellationToken,
    ) -> Result<Verdict> {
        let object = Location::parse(location)?.object(digest);
        let Some(size) = self.bucket.head(&object).await? else {
            return Ok(Verdict::Missing);
        };
        let mut hasher = Hasher::new(digest.algorithm());
        let pace = Pace::new(rate, cancel);
        while hasher.offset() < size {
            let step = self.hash_step(&object, hasher, size);
            let stepped = tokio::select! {
                stepped = step => stepped,
                () = cancel.cancelled() => return Err(Error::Cancelled),
            };
            hasher = match stepped {
                Ok(hasher) => hasher,
                Err(Error::NotFound) => return Ok(Verdict::Missing),
                Err(Error::Damaged(why)) => {
                    return Ok(Verdict::Damaged(Damage::Unreadable(why)));
                }
                Err(error) => return Err(error),
            };
            pace.wait(hasher.offset()).await?;
        }
        Ok(Verdict::of(digest, size, hasher.digest()))
    }

    async fn hash_step(&self, object: &str, mut hasher: Hasher, size: u64) -> Result<Hasher> {
        let end = size.min(hasher.offset() + STEP);
        let range = hasher.offset()..end;
        let (whole, stream) = self.bucket.get(object, Some(range)).await?;
        if whole != size {
            return Err(Error::Damaged(
                "its size changed while it was read".to_owned(),
            ));
        }
        let mut stream = std::pin::pin!(stream);
        while let Some(bytes) = stream.try_next().await? {
            hasher = hash_frames(hasher, vec![bytes]).await?;
        }
        Ok(hasher)
    }

    /// Deletes; what is not there is deleted already. How many bytes that frees is not asked for.
    pub(crate) async fn delete(&self, items: &[(Digest, String)]) -> Vec<Result<()>> {
        let mut keys = Vec::with_capacity(items.len());
        let mut parsed = Vec::with_capacity(items.len());
        for (digest, location) in items {
            let location_read = Location::parse(location);
            if let Ok(read) = &location_read {
                keys.push(read.object(digest));
                // With its object; a mark that outlives it is found by the next check.
                if matches!(read, Location::Own { .. }) {
                    keys.push(format!("{}{location}", keys::dir(digest)));
                }
            }
            parsed.push(location_read);
        }
        let mut deleted = self.bucket.delete(&keys).await.into_iter();
        parsed
            .into_iter()
            .map(|location| match location? {
                Location::Digest(_) => deleted.next().transpose().map(drop),
                Location::Own { .. } => {
                    let (object, mark) = (deleted.next(), deleted.next());
                    object.transpose()?;
                    mark.transpose().map(drop)
                }
            })
            .collect()
    }

    /// Uploads in parts that have not ended, also those of other nodes and what crashes left behind.
    pub(crate) async fn uploads(&self) -> Result<Vec<Unfinished>> {
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let page = self
                .bucket
                .begun(keys::all_owned(), token.as_deref())
                .await?;
            for begun in page.found {
                if let Some((key, _)) = keys::owner(&begun.key) {
                    found.push(Unfinished {
                        is_busy: self.busy.has(key),
                        key: key.to_owned(),
                        size: 0,
                        modified: begun.begun,
                    });
                }
            }
            token = page.next;
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    /// Gives up what an upload has begun and not made an object of. `known` is the one that its row names.
    pub(crate) async fn discard(&self, key: &str, known: Option<&Progress>) -> Result<()> {
        check_key(key)?;
        // By name, since not every vendor (MinIO) lists them by what their keys begin with.
        if let Some(multipart) = known.and_then(|known| known.multipart.as_ref()) {
            let object = keys::own(key, &multipart.name);
            self.bucket.abort(&object, &multipart.id).await?;
        }
        let prefix = keys::owned_by(key);
        let mut token = None;
        loop {
            let page = match self.bucket.begun(&prefix, token.as_deref()).await {
                Ok(page) => page,
                Err(error @ Error::Remote { is_ours: true, .. }) => {
                    tracing::warn!(%error, "uploads in parts cannot be listed: what crashes leave of them stays");
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            for begun in &page.found {
                self.bucket.abort(&begun.key, &begun.id).await?;
            }
            token = page.next;
            if token.is_none() {
                return Ok(());
            }
        }
    }

    /// Where contents would lie that objects of an upload became: which of them did, its database knows.
    pub(crate) async fn own_locations(&self, key: &str) -> Result<Vec<String>> {
        check_key(key)?;
        let (prefix, mut token, mut found) = (keys::owned_by(key), None, Vec::new());
        loop {
            let page = self.bucket.list(&prefix, token.as_deref()).await?;
            found.extend(page.found.iter().filter_map(|object| {
                let (key, name) = keys::owner(&object.key)?;
                Some(keys::own_location(key, name, object.size))
            }));
            token = page.next;
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    /// Removes objects that are no content, and the marks that they may have had as this one.
    pub(crate) async fn remove_own(
        &self,
        locations: &[String],
        digest: Option<&Digest>,
    ) -> Result<()> {
        let mut keys = Vec::new();
        for location in locations {
            let Location::Own { key, name, .. } = Location::parse(location)? else {
                return Err(Error::Invalid(
                    location.clone(),
                    "location of an upload's own",
                ));
            };
            keys.push(keys::own(key, name));
            keys.extend(digest.map(|digest| format!("{}{location}", keys::dir(digest))));
        }
        for deleted in self.bucket.delete(&keys).await {
            deleted?;
        }
        Ok(())
    }
}

fn check_key(key: &str) -> Result<()> {
    if names::is_key(key) {
        return Ok(());
    }
    Err(Error::Invalid(key.to_owned(), "upload key"))
}

/// Reads an object of this size and hashes it.
pub(crate) async fn hash_object(
    objects: &Objects,
    object: &str,
    algorithm: Algorithm,
    size: u64,
) -> Result<Hasher> {
    let mut hasher = Hasher::new(algorithm);
    while hasher.offset() < size {
        hasher = objects.hash_step(object, hasher, size).await?;
    }
    Ok(hasher)
}

/// Below this a hash is not worth a thread.
const AT_ONCE: usize = 64 << 10;

pub(crate) async fn hash_frames(mut hasher: Hasher, frames: Vec<Bytes>) -> Result<Hasher> {
    let len: usize = frames.iter().map(Bytes::len).sum();
    if len <= AT_ONCE {
        for frame in &frames {
            hasher.update(frame);
        }
        return Ok(hasher);
    }
    let hash = move || {
        for frame in &frames {
            hasher.update(frame);
        }
        hasher
    };
    let hashed = tokio::task::spawn_blocking(hash).await;
    hashed.map_err(stopped)
}

/// Which uploads this process works on, and how many requests do.
#[derive(Clone, Default)]
pub(crate) struct BusyKeys(Arc<Mutex<HashMap<String, usize>>>);

/// One who works on an upload, until dropped.
pub(crate) struct Busy {
    keys: BusyKeys,
    key: String,
}

impl BusyKeys {
    pub(crate) fn enter(&self, key: &str) -> Busy {
        *self.0.lock().entry(key.to_owned()).or_default() += 1;
        Busy {
            keys: self.clone(),
            key: key.to_owned(),
        }
    }

    fn has(&self, key: &str) -> bool {
        self.0.lock().contains_key(key)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut keys = self.keys.0.lock();
        if let Some(count) = keys.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                keys.remove(&self.key);
            }
        }
    }
}

/// How long an address signed for a client lasts.
pub(crate) const SIGNED: Duration = Duration::from_mins(20);
