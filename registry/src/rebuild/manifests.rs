//! Finding manifests among contents: whatever is small enough, is JSON, and reads as a manifest is one. An index comes
//! after what it lists.

use std::collections::BTreeSet;

use blob::Error as BlobError;
use bytes::Bytes;
use db::{
    artifacts,
    blobs::{self, Blob, Lock, State},
};
use model::{Result, id::BlobId};
use oci::{
    digest::Digest,
    manifest::{Kind, MAX_MANIFEST_BYTES, Manifest},
};

use super::Rebuild;
use crate::{named::Named, store_error};

/// Contents read from the database at a time.
const PAGE: i64 = 500;

/// A manifest that was found.
#[derive(Clone)]
struct Found {
    blob: Blob,
    manifest: Manifest,
}

impl Rebuild<'_> {
    /// Images first, then indexes: those whose children are all there, again and again, until no more come.
    pub(super) async fn manifests(&mut self) -> Result<()> {
        let mut indexes = self.images().await?;
        while !indexes.is_empty() && !self.cancel.is_cancelled() {
            let waiting: BTreeSet<Digest> = indexes.iter().map(|blob| blob.digest).collect();
            let mut later = Vec::new();
            for blob in std::mem::take(&mut indexes) {
                if self.cancel.is_cancelled() {
                    return Ok(());
                }
                let Some(found) = self.read(&blob).await? else {
                    continue;
                };
                if found
                    .manifest
                    .manifests
                    .iter()
                    .any(|child| waiting.contains(&child.digest))
                {
                    later.push(blob);
                } else {
                    self.put(found).await?;
                }
            }
            indexes = later;
        }
        Ok(())
    }

    /// Puts all images and answers the indexes. Those are kept as rows, not as parsed text: there may be many.
    async fn images(&mut self) -> Result<Vec<Blob>> {
        let (mut after, mut indexes) = (BlobId(0), Vec::new());
        while !self.cancel.is_cancelled() {
            let page = blobs::list(&mut *self.registry.db().reader().await?, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for blob in page {
                if self.cancel.is_cancelled() {
                    break;
                }
                let Some(found) = self.read(&blob).await? else {
                    continue;
                };
                match found.manifest.kind {
                    Kind::Image => self.put(found).await?,
                    Kind::Index => indexes.push(blob),
                }
            }
            (self.progress)(&self.report.done);
        }
        Ok(indexes)
    }

    /// The content as a manifest, when it is one and is not in the repository yet.
    async fn read(&self, blob: &Blob) -> Result<Option<Found>> {
        if blob.state != State::Live || blob.size > MAX_MANIFEST_BYTES as u64 {
            return Ok(None);
        }
        let known = artifacts::find(
            &mut *self.registry.db().reader().await?,
            self.repository.id,
            &blob.digest,
        )
        .await?;
        if known.is_some() {
            return Ok(None);
        }
        let bytes = match self
            .registry
            .store()
            .read(&blob.digest, &blob.location, MAX_MANIFEST_BYTES)
            .await
        {
            Ok(bytes) => bytes,
            // For the scrub to judge.
            Err(
                BlobError::NotFound
                | BlobError::Damaged(_)
                | BlobError::DigestMismatch { .. }
                | BlobError::TooLarge { .. },
            ) => return Ok(None),
            Err(error) => return Err(store_error(error)),
        };
        Ok(parse(&bytes).map(|manifest| Found {
            blob: blob.clone(),
            manifest,
        }))
    }

    async fn put(&mut self, found: Found) -> Result<()> {
        let (repository, digest) = (self.repository.clone(), found.blob.digest);
        let missing = self
            .registry
            .db()
            .write(move |tx| {
                let (found, repository) = (found.clone(), repository.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    let Found { blob, manifest } = found;
                    let contents: Vec<Digest> = manifest
                        .blobs()
                        .map(|named| named.digest)
                        .chain([blob.digest])
                        .collect();
                    blobs::hold(tx, &contents, Lock::Share).await?;
                    let named = Named::find(tx, repository.id, &manifest).await?;
                    let new = named.artifact(&manifest, &blob.digest, (blob.id, blob.size));
                    artifacts::ensure(tx, &repository, &new, now).await?;
                    Ok(named.count_missing(&manifest))
                })
            })
            .await?;
        self.report.done.manifests += 1;
        if missing > 0 {
            self.report.done.incomplete += 1;
            self.example(format!(
                "{digest}: names {missing} contents that are not in the store"
            ));
        }
        Ok(())
    }
}

fn parse(bytes: &Bytes) -> Option<Manifest> {
    // Most contents are no JSON at all.
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if *first != b'{' {
        return None;
    }
    Manifest::parse(bytes, None).ok()
}
