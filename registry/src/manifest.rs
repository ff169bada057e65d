//! Pushing manifests. One becomes visible in one transaction, when all it names is there.

use std::sync::Arc;

use bytes::Bytes;
use db::{
    Tx,
    artifacts::{self, Attached},
    blobs::{self, Blob, State},
    described::Description,
    imported, links,
    repositories::Repository,
    tags::{self, Cause},
};
use model::{
    Error, Result, What,
    id::{ArtifactId, BlobId},
    time::Timestamp,
};
use oci::{
    digest::{Algorithm, Digest},
    manifest::Manifest,
    name::Tag,
    reference::Reference,
};

use crate::{
    Registry,
    describe::{attached, describe},
    named::Named,
    push::{ATTEMPTS, Place, Target, collected, settle},
    store_error,
};

/// Bytes of annotations of a manifest that refers to another.
const MOST_ANNOTATIONS: usize = 64 * 1024;

/// A manifest as a client pushes it.
#[derive(Debug, Clone)]
pub struct NewManifest {
    pub bytes: Bytes,
    pub content_type: Option<String>,
    /// The tag or digest in the path.
    pub reference: Reference,
    /// Further tags (`?tag=`), for a push by digest.
    pub tags: Vec<Tag>,
}

/// A manifest that was accepted.
#[derive(Debug, Clone)]
pub struct Pushed {
    pub digest: Digest,
    pub subject: Option<Digest>,
}

/// By which way a manifest came in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    Push,
    Copy,
    /// Out of a tree that was taken over: with the time of then, and with what of it is there.
    Import {
        pushed_at: Timestamp,
    },
}

impl Way {
    /// Why its tags are set.
    fn cause(self) -> Cause {
        match self {
            Self::Push => Cause::Push,
            Self::Copy => Cause::Copy,
            Self::Import { .. } => Cause::Import,
        }
    }
}

/// What the transaction needs, parsed once.
struct Parsed {
    manifest: Manifest,
    digest: Digest,
    size: u64,
    /// Its own digest and those of all contents that it names.
    contents: Vec<Digest>,
    /// In the order of their names, in which everybody locks them.
    tags: Vec<Tag>,
    /// Of one that the repository has not yet.
    description: Option<Description>,
    way: Way,
    /// What it is an accessory of, as far as that is no circle.
    attached: Option<Attached>,
}

impl Registry {
    /// Accepts a manifest, with its tags. Durable when it returns; the same push again changes nothing but the tags' time.
    pub async fn push_manifest(&self, target: &Target, new: NewManifest) -> Result<Pushed> {
        let (pushed, _) = self.keep_manifest_by(target, new, Way::Push).await?;
        Ok(pushed)
    }

    /// Accepts a manifest that came in by this way; and how much of what it names is missing, which no other way than an import
    /// allows.
    pub(crate) async fn keep_manifest_by(
        &self,
        target: &Target,
        new: NewManifest,
        way: Way,
    ) -> Result<(Pushed, usize)> {
        let bytes = new.bytes.clone();
        let mut parsed = Parsed { way, ..parse(new)? };
        parsed.description = self.describe_new(target, &parsed).await;
        if let Some(description) = parsed.description.as_mut()
            && parsed.attached.is_none()
        {
            (description.accessory, description.accessory_of) = (None, None);
        }
        let parsed = Arc::new(parsed);
        let pushed = Pushed {
            digest: parsed.digest,
            subject: parsed
                .manifest
                .subject
                .as_ref()
                .map(|subject| subject.digest),
        };
        let _publishing = self.publishing().await?;
        for _ in 0..ATTEMPTS {
            let (place, newest) = self.place(&parsed.digest, parsed.size).await?;
            let here = self
                .holds_bytes(newest.as_ref(), &parsed.digest, &bytes)
                .await;
            if !here {
                let (digest, bytes) = (&parsed.digest, bytes.clone());
                match self.store().put(digest, &place.location, bytes).await {
                    Err(blob::Error::Withdrawn) => continue,
                    stored => stored.map_err(store_error)?,
                }
            }
            let kept = self.keep_manifest(target, parsed.clone(), place, !here);
            if let Some(missing) = kept.await? {
                self.hand_on(&parsed.digest, &bytes);
                return Ok((pushed, missing));
            }
        }
        Err(collected(&pushed.digest))
    }

    /// Before the transaction, which waits for no file. Where the database does not answer, it fails for itself.
    async fn describe_new(&self, target: &Target, parsed: &Parsed) -> Option<Description> {
        let Parsed { manifest, tags, .. } = parsed;
        let repository = self.find_repository(target.name.borrowed()).await.ok()?;
        let Some(repository) = repository else {
            return Some(describe(manifest, tags, None).into());
        };
        let known = {
            let mut reader = self.db().reader().await.ok()?;
            artifacts::find(&mut reader, repository, &parsed.digest)
                .await
                .ok()?
        };
        if known.is_some() {
            return None;
        }
        Some(self.describe(repository, manifest, tags).await.into())
    }

    /// Whether the store has these very bytes already, so that tagging a known manifest writes no file. Remembered bytes
    /// say what the file should hold, not that it is there.
    async fn holds_bytes(&self, newest: Option<&Blob>, digest: &Digest, bytes: &Bytes) -> bool {
        let is_there = |blob: &&Blob| {
            matches!(blob.state, State::Live | State::Adopted) && blob.size == bytes.len() as u64
        };
        let Some(blob) = newest.filter(is_there) else {
            return false;
        };
        if blob.state == State::Live && self.0.remembered.manifest(digest).is_some() {
            let looked = self.store().look(digest, &blob.location, blob.size);
            return looked.await.is_ok();
        }
        let stored = self.store().read(digest, &blob.location, bytes.len()).await;
        let same = stored.is_ok_and(|stored| stored == *bytes);
        if same {
            self.0.remembered.keep_manifest(*digest, bytes.clone());
        }
        same
    }

    /// How much of what it names is missing; none when the place is not the right one any more.
    async fn keep_manifest(
        &self,
        target: &Target,
        parsed: Arc<Parsed>,
        place: Place,
        wrote: bool,
    ) -> Result<Option<usize>> {
        let target = target.clone();
        self.db()
            .write(move |tx| {
                let (target, parsed, place) = (target.clone(), parsed.clone(), place.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    let wrote = wrote.then_some(place.location.as_str());
                    let repository = target.ensure(tx, now).await?;
                    // Its own bytes and all it names at once, in order: one after the other would be two orders.
                    blobs::hold(tx, &parsed.contents, place.lock).await?;
                    let Some(own) =
                        settle(tx, &parsed.digest, parsed.size, &place, wrote, now).await?
                    else {
                        return Ok(None);
                    };
                    let (artifact, missing) =
                        keep_artifact(tx, &repository, &parsed, own, now).await?;
                    for tag in &parsed.tags {
                        let (digest, cause) = (&parsed.digest, parsed.way.cause());
                        tags::set(tx, &repository, tag, artifact, digest, cause, now).await?;
                    }
                    if let Way::Import { pushed_at } = parsed.way {
                        let pushed_at = pushed_at.min(now);
                        imported::set_manifest_time(tx, artifact, pushed_at, now).await?;
                        for tag in &parsed.tags {
                            imported::set_tag_time(tx, repository.id, tag, pushed_at, now).await?;
                        }
                    }
                    Ok(Some(missing))
                })
            })
            .await
    }
}

fn parse(new: NewManifest) -> Result<Parsed> {
    let NewManifest {
        bytes,
        content_type,
        reference,
        tags,
    } = new;
    let manifest = Manifest::parse(&bytes, content_type.as_deref())
        .map_err(|error| Error::invalid(What::Manifest, error.to_string()))?;
    check_annotations(&manifest)?;
    let (digest, mut all) = match reference {
        Reference::Tag(tag) => (blob::digest_of(Algorithm::Sha256, &bytes), vec![tag]),
        Reference::Digest(digest) => {
            let actual = blob::digest_of(digest.algorithm(), &bytes);
            if actual != digest {
                return Err(Error::invalid(
                    What::Digest,
                    format!(
                        "the manifest has digest `{actual}`, not `{digest}` as the request says"
                    ),
                ));
            }
            (digest, Vec::new())
        }
    };
    all.extend(tags);
    all.sort();
    all.dedup();
    let named = manifest.blobs().map(|named| named.digest);
    let attached = attached(&manifest, &all).filter(|(_, subject)| *subject != digest);
    Ok(Parsed {
        size: bytes.len() as u64,
        contents: named.chain([digest]).collect(),
        manifest,
        digest,
        tags: all,
        description: None,
        way: Way::Push,
        attached: attached.map(|(accessory, subject)| Attached {
            kind: accessory.as_str().to_owned(),
            subject,
        }),
    })
}

/// Whoever lists the referrers of a subject gets the annotations of each.
fn check_annotations(manifest: &Manifest) -> Result<()> {
    let texts = manifest.annotations.iter();
    let length: usize = texts.map(|(name, value)| name.len() + value.len()).sum();
    if manifest.subject.is_some() && length > MOST_ANNOTATIONS {
        return Err(Error::TooLarge(format!(
            "the annotations of a manifest with a subject may have at most {MOST_ANNOTATIONS} bytes"
        )));
    }
    Ok(())
}

/// The artifact's row with all it names, whose contents are held already; and how much of that is missing.
async fn keep_artifact(
    tx: &mut Tx,
    repository: &Repository,
    parsed: &Parsed,
    own: BlobId,
    now: Timestamp,
) -> Result<(ArtifactId, usize)> {
    let manifest = &parsed.manifest;
    let named = Named::find(tx, repository.id, manifest).await?;
    let is_import = matches!(parsed.way, Way::Import { .. });
    if let Some(missing) = named.missing(manifest).filter(|_| !is_import) {
        return Err(Error::MissingBlob(missing));
    }
    let mut new = named.artifact(manifest, &parsed.digest, (own, parsed.size));
    // Nobody pushed it just now, of which the audit would tell.
    new.by_tag = is_import || !parsed.tags.is_empty();
    new.attached = parsed.attached.clone();
    new.description = parsed.description.clone();
    let (artifact, is_new) = artifacts::ensure(tx, repository, &new, now).await?;
    // After the artifact's row: whoever deletes it takes both in this order.
    if is_new {
        links::add(tx, repository, own, None, now).await?;
    }
    Ok((artifact, named.count_missing(manifest)))
}

#[cfg(test)]
mod tests;
