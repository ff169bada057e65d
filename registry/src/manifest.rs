//! Pushing, tagging and deleting manifests. A manifest becomes visible in one transaction, when all it names is there.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use db::{
    Tx,
    artifacts::{self, NewArtifact},
    blobs::{self, Blob, State},
    links, repositories, tags,
};
use model::{
    Error, Result, What,
    id::{ArtifactId, BlobId, RepositoryId},
    time::Timestamp,
};
use oci::{
    digest::{Algorithm, Digest},
    manifest::Manifest,
    name::{RepoName, Tag},
    reference::Reference,
};

use crate::{
    Registry,
    push::{Place, Target, settle},
    store_error,
};

/// As `push` in this crate: the collector may take a place between two looks, but not for ever.
const ATTEMPTS: usize = 10;

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

/// What the transaction needs, parsed once.
struct Parsed {
    manifest: Manifest,
    digest: Digest,
    size: u64,
    tags: Vec<Tag>,
    annotations: Option<String>,
}

impl Registry {
    /// Accepts a manifest, with its tags. Durable when it returns; the same push again changes nothing but the tags' time.
    pub async fn push_manifest(&self, target: &Target, new: NewManifest) -> Result<Pushed> {
        let bytes = new.bytes.clone();
        let parsed = Arc::new(parse(new)?);
        let pushed = Pushed {
            digest: parsed.digest,
            subject: parsed
                .manifest
                .subject
                .as_ref()
                .map(|subject| subject.digest),
        };
        for _ in 0..ATTEMPTS {
            let newest = blobs::newest(&mut *self.db().reader().await?, &parsed.digest).await?;
            let place = Place::after(newest.as_ref());
            if !self
                .holds_bytes(newest.as_ref(), &parsed.digest, &bytes)
                .await
            {
                let (digest, bytes) = (&parsed.digest, bytes.clone());
                match self.store().put(digest, &place.location, bytes).await {
                    Err(blob::Error::Withdrawn) => continue,
                    stored => stored.map_err(store_error)?,
                }
            }
            if self.keep_manifest(target, parsed.clone(), place).await? {
                return Ok(pushed);
            }
        }
        Err(Error::Unavailable(anyhow::anyhow!(
            "`{}` was collected again and again while it was pushed",
            pushed.digest
        )))
    }

    /// Whether the store has these very bytes already, so that tagging a known manifest writes no file.
    async fn holds_bytes(&self, newest: Option<&Blob>, digest: &Digest, bytes: &Bytes) -> bool {
        let Some(blob) =
            newest.filter(|blob| blob.state == State::Live && blob.size == bytes.len() as u64)
        else {
            return false;
        };
        if let Some(remembered) = self.0.remembered.manifest(digest) {
            return remembered == *bytes;
        }
        let stored = self.store().read(digest, &blob.location, bytes.len()).await;
        let same = stored.is_ok_and(|stored| stored == *bytes);
        if same {
            self.0.remembered.keep_manifest(*digest, bytes.clone());
        }
        same
    }

    /// False when the place is not the right one any more.
    async fn keep_manifest(
        &self,
        target: &Target,
        parsed: Arc<Parsed>,
        place: Place,
    ) -> Result<bool> {
        let target = target.clone();
        self.db()
            .write(move |tx| {
                let (target, parsed, place) = (target.clone(), parsed.clone(), place.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    let repository =
                        repositories::ensure(tx, target.project, &target.name, now).await?;
                    let Some(own) = settle(tx, &parsed.digest, parsed.size, &place, now).await?
                    else {
                        return Ok(false);
                    };
                    let artifact =
                        keep_artifact(tx, repository, &target.name, &parsed, own, now).await?;
                    for tag in &parsed.tags {
                        tags::set(
                            tx,
                            repository,
                            target.name.as_str(),
                            tag,
                            artifact,
                            &parsed.digest,
                            now,
                        )
                        .await?;
                    }
                    Ok(true)
                })
            })
            .await
    }

    /// Removes one tag and nothing else.
    pub async fn delete_tag(&self, name: &RepoName, tag: &Tag) -> Result<()> {
        let (name, tag) = (name.clone(), tag.clone());
        self.db()
            .write(move |tx| {
                let (name, tag) = (name.clone(), tag.clone());
                Box::pin(async move {
                    let repository = repositories::find(tx, name.as_str()).await?;
                    let repository =
                        repository.ok_or_else(|| not_found(&name, &format!(":{tag}")))?;
                    let now = tx.now().await?;
                    tags::delete(tx, repository, name.as_str(), &tag, now).await
                })
            })
            .await
    }

    /// Deletes a manifest and all its tags. One that an index of the repository names stays.
    pub async fn delete_manifest(&self, name: &RepoName, digest: &Digest) -> Result<()> {
        let (name, digest, grace) = (name.clone(), *digest, self.config().gc_grace);
        self.db()
            .write(move |tx| {
                let name = name.clone();
                Box::pin(async move {
                    let missing = || not_found(&name, &format!("@{digest}"));
                    let repository = repositories::find(tx, name.as_str()).await?.ok_or_else(missing)?;
                    let artifact = artifacts::find(tx, repository, &digest).await?.ok_or_else(missing)?;
                    if let Some(parent) = artifacts::find_parent(tx, artifact.id).await? {
                        return Err(Error::Precondition(format!(
                            "`{digest}` is part of the index `{parent}` in this repository: delete the index first"
                        )));
                    }
                    let now = tx.now().await?;
                    artifacts::delete(tx, repository, name.as_str(), &artifact, now.plus(grace), now).await
                })
            })
            .await
    }

    /// Takes a content from a repository, unless a manifest of it names it.
    pub async fn delete_blob(&self, name: &RepoName, digest: &Digest) -> Result<()> {
        let (name, digest) = (name.clone(), *digest);
        self.db()
            .write(move |tx| {
                let name = name.clone();
                Box::pin(async move {
                    let missing = || {
                        Error::not_found(
                            What::Blob,
                            format!("blob `{digest}` not found in `{name}`"),
                        )
                    };
                    let repository = repositories::find(tx, name.as_str())
                        .await?
                        .ok_or_else(missing)?;
                    blobs::lock(tx, &[digest]).await?;
                    let blob = links::find(tx, repository, &digest)
                        .await?
                        .ok_or_else(missing)?;
                    if !links::remove_unless_named(tx, repository, blob.id).await? {
                        return Err(Error::Unsupported(format!(
                            "a manifest of `{name}` names `{digest}`: delete the manifest first"
                        )));
                    }
                    let now = tx.now().await?;
                    blobs::condemn_if_unheld(tx, blob.id, now).await.map(|_| ())
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
    let (digest, mut all) = match reference {
        Reference::Tag(tag) => (blob::digest_of(Algorithm::Sha256, &bytes), vec![tag]),
        Reference::Digest(digest) => (digest, Vec::new()),
    };
    let actual = blob::digest_of(digest.algorithm(), &bytes);
    if actual != digest {
        return Err(Error::invalid(
            What::Digest,
            format!("the manifest has digest `{actual}`, not `{digest}` as the request says"),
        ));
    }
    all.extend(tags);
    let annotations = (!manifest.annotations.is_empty())
        .then(|| serde_json::to_string(&manifest.annotations))
        .transpose()
        .map_err(model::error::internal("serialising annotations"))?;
    Ok(Parsed {
        size: bytes.len() as u64,
        manifest,
        digest,
        tags: all,
        annotations,
    })
}

/// The artifact's row and all it names, locked against the collector in the order of digests.
async fn keep_artifact(
    tx: &mut Tx,
    repository: RepositoryId,
    name: &RepoName,
    parsed: &Parsed,
    own: BlobId,
    now: Timestamp,
) -> Result<ArtifactId> {
    let held = hold_contents(tx, repository, &parsed.manifest, now).await?;
    let children = find_children(tx, repository, &parsed.manifest).await?;
    links::add(tx, repository, own, None, now).await?;
    let manifest = &parsed.manifest;
    let contents: u64 = held.iter().map(|blob| blob.size).sum();
    let new = NewArtifact {
        digest: parsed.digest,
        blob: own,
        media_type: manifest.media_type.to_owned(),
        artifact_type: manifest.artifact_type().map(str::to_owned),
        config_media_type: manifest
            .config
            .as_ref()
            .map(|config| config.media_type.clone()),
        size: parsed.size + contents + children.iter().map(|child| child.2).sum::<u64>(),
        subject: manifest.subject.as_ref().map(|subject| subject.digest),
        annotations: parsed.annotations.clone(),
        blobs: held.iter().map(|blob| blob.id).chain([own]).collect(),
        children: children.iter().map(|child| child.0).collect(),
    };
    artifacts::ensure(tx, repository, name.as_str(), &new, now).await
}

async fn hold_contents(
    tx: &mut Tx,
    repository: RepositoryId,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<Vec<Blob>> {
    let wanted: BTreeSet<Digest> = manifest
        .blobs()
        .map(|descriptor| descriptor.digest)
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<Digest> = wanted.into_iter().collect();
    let held = links::hold(tx, repository, &wanted).await?;
    for digest in &wanted {
        if !held
            .iter()
            .any(|blob| blob.digest == *digest && blob.state.is_readable())
        {
            return Err(Error::MissingBlob(*digest));
        }
    }
    for blob in held.iter().filter(|blob| blob.state == State::Condemned) {
        blobs::revive(tx, blob.id, blob.size, now).await?;
    }
    Ok(held)
}

async fn find_children(
    tx: &mut Tx,
    repository: RepositoryId,
    manifest: &Manifest,
) -> Result<Vec<(ArtifactId, Digest, u64)>> {
    let wanted: BTreeSet<Digest> = manifest
        .children()
        .map(|descriptor| descriptor.digest)
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<Digest> = wanted.into_iter().collect();
    let found = artifacts::children(tx, repository, &wanted).await?;
    match wanted
        .iter()
        .find(|digest| !found.iter().any(|child| child.1 == **digest))
    {
        Some(missing) => Err(Error::MissingBlob(*missing)),
        None => Ok(found),
    }
}

fn not_found(name: &RepoName, reference: &str) -> Error {
    Error::not_found(
        What::Manifest,
        format!("artifact {name}{reference} not found"),
    )
}
