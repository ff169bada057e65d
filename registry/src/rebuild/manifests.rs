//! Finding manifests among contents: whatever is small enough, is JSON, and reads as a manifest is one. An index comes
//! after what it lists.

use std::collections::BTreeSet;

use blob::Error as BlobError;
use bytes::Bytes;
use db::{
    artifacts::{self, NewArtifact},
    blobs::{self, Blob, State},
    links,
};
use model::{Result, id::BlobId};
use oci::{
    digest::Digest,
    manifest::{Kind, MAX_MANIFEST_BYTES, Manifest},
};

use super::Rebuild;
use crate::store_error;

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
            self.repository,
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
            Err(BlobError::NotFound | BlobError::Damaged(_) | BlobError::TooLarge { .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(store_error(error)),
        };
        Ok(parse(&bytes).map(|manifest| Found {
            blob: blob.clone(),
            manifest,
        }))
    }

    async fn put(&mut self, found: Found) -> Result<()> {
        let (repository, name, digest) = (self.repository, self.name.clone(), found.blob.digest);
        let missing = self
            .registry
            .db()
            .write(move |tx| {
                let (found, name) = (found.clone(), name.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    let Found { blob, manifest } = found;
                    let named: BTreeSet<Digest> =
                        manifest.blobs().map(|named| named.digest).collect();
                    let held =
                        links::hold(tx, repository, &named.iter().copied().collect::<Vec<_>>())
                            .await?;
                    let listed: BTreeSet<Digest> =
                        manifest.children().map(|child| child.digest).collect();
                    let children = artifacts::children(
                        tx,
                        repository,
                        &listed.iter().copied().collect::<Vec<_>>(),
                    )
                    .await?;
                    let missing = (named.len() - held.len()) + (listed.len() - children.len());
                    let new = NewArtifact {
                        digest: blob.digest,
                        blob: blob.id,
                        media_type: manifest.media_type.to_owned(),
                        artifact_type: manifest.artifact_type().map(str::to_owned),
                        config_media_type: manifest
                            .config
                            .as_ref()
                            .map(|config| config.media_type.clone()),
                        size: blob.size
                            + held.iter().map(|held| held.size).sum::<u64>()
                            + children.iter().map(|child| child.2).sum::<u64>(),
                        subject: manifest.subject.as_ref().map(|subject| subject.digest),
                        annotations: annotations(&manifest),
                        blobs: held.iter().map(|blob| blob.id).chain([blob.id]).collect(),
                        children: children.iter().map(|child| child.0).collect(),
                    };
                    artifacts::ensure(tx, repository, name.as_str(), &new, now).await?;
                    Ok(missing)
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

fn annotations(manifest: &Manifest) -> Option<String> {
    if manifest.annotations.is_empty() {
        return None;
    }
    serde_json::to_string(&manifest.annotations).ok()
}
