//! Pulling: which manifest a tag or digest stands for, and where a content's bytes are. What was read is remembered only
//! while nobody else writes the database, and only until a write changes it; bytes by digest are remembered anyway.

use std::sync::Arc;

use bytes::Bytes;
use db::{
    artifacts::{self, Artifact},
    blobs::{Blob, State},
    generations::Seen,
    last_known::LastKnown,
    links, repositories,
};
use model::{Result, id::RepositoryId};
use oci::{
    digest::Digest,
    name::{NameRef, RepoName},
    reference::{Reference, ReferenceRef},
};
use quick_cache::{Equivalent, Weighter, sync::Cache};

use crate::Registry;

/// Names and contents remembered; each entry is a few hundred bytes.
const REPOSITORIES: usize = 16_384;
const CONTENTS: usize = 65_536;
/// What tags and digests stood for last, for while the database is away; each is about a kilobyte.
const ARTIFACTS: usize = 16_384;
/// What a remembered manifest takes beside its bytes, about.
const OVERHEAD: u64 = 512;

/// A manifest ready to be served.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// What its tag or digest stands for now.
    pub artifact: Arc<Artifact>,
    pub bytes: Bytes,
    /// As it is told to clients; shared, so that telling it copies nothing.
    pub media_type: Bytes,
    /// The digest between quotes: an entity tag.
    pub quoted_digest: Bytes,
}

impl Manifest {
    fn new(artifact: Artifact, bytes: Bytes) -> Self {
        Self {
            media_type: Bytes::copy_from_slice(artifact.media_type.as_bytes()),
            quoted_digest: format!("\"{}\"", artifact.digest).into(),
            artifact: Arc::new(artifact),
            bytes,
        }
    }

    /// The digest as text.
    pub fn digest(&self) -> &str {
        let quoted = std::str::from_utf8(&self.quoted_digest).expect("made of a string");
        quoted.trim_matches('"')
    }
}

/// What one node remembers of its reads.
pub struct Remembered {
    /// With the generation of rights under which it was read.
    repositories: Cache<Box<str>, (u64, RepositoryId)>,
    references: Cache<Key, Known, ByLength>,
    contents: Cache<(RepositoryId, Digest), (Seen, Arc<Blob>)>,
    manifests: Cache<Digest, Bytes, ByLength>,
    last_repositories: LastKnown<Box<str>, RepositoryId>,
    last_artifacts: LastKnown<Key, Artifact>,
    last_contents: LastKnown<(RepositoryId, Digest), Arc<Blob>>,
}

/// What a name and a reference stood for when it was read.
#[derive(Clone)]
struct Known {
    seen: Seen,
    repository: RepositoryId,
    manifest: Arc<Manifest>,
}

#[derive(Clone)]
struct ByLength;

impl Weighter<Digest, Bytes> for ByLength {
    fn weight(&self, _: &Digest, bytes: &Bytes) -> u64 {
        bytes.len() as u64 + OVERHEAD
    }
}

impl Weighter<Key, Known> for ByLength {
    fn weight(&self, _: &Key, known: &Known) -> u64 {
        known.manifest.bytes.len() as u64 + OVERHEAD
    }
}

#[derive(Hash, PartialEq, Eq)]
struct Key {
    name: RepoName,
    reference: Reference,
}

#[derive(Hash)]
struct KeyRef<'a> {
    name: NameRef<'a>,
    reference: ReferenceRef<'a>,
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        let same = match (&self.reference, &key.reference) {
            (Reference::Tag(tag), Reference::Tag(known)) => tag.as_str() == known.as_str(),
            (Reference::Digest(digest), Reference::Digest(known)) => digest == known,
            _ => false,
        };
        same && self.name.as_str() == key.name.as_str()
    }
}

impl Remembered {
    pub(crate) fn new(manifest_bytes: u64) -> Self {
        // One half by name, one by digest; they share the bytes of what stands in both.
        let half = manifest_bytes / 2;
        let about = usize::try_from(half / 2048).unwrap_or(usize::MAX).max(16);
        Self {
            repositories: Cache::new(REPOSITORIES),
            references: Cache::with_weighter(about, half, ByLength),
            contents: Cache::new(CONTENTS),
            manifests: Cache::with_weighter(about, half, ByLength),
            last_repositories: LastKnown::new(REPOSITORIES),
            last_artifacts: LastKnown::new(ARTIFACTS),
            last_contents: LastKnown::new(CONTENTS),
        }
    }

    pub(crate) fn manifest(&self, digest: &Digest) -> Option<Bytes> {
        self.manifests.get(digest)
    }

    pub(crate) fn keep_manifest(&self, digest: Digest, bytes: Bytes) {
        self.manifests.insert(digest, bytes);
    }
}

impl Registry {
    /// The number of a repository. One that is missing is never remembered, since a push makes it without touching rights.
    pub async fn find_repository(&self, name: NameRef<'_>) -> Result<Option<RepositoryId>> {
        let generation = self
            .db()
            .is_exclusive()
            .then(|| self.db().generations().rights());
        let remembered = &self.0.remembered.repositories;
        if let Some(generation) = generation
            && let Some((then, id)) = remembered.get(name.as_str())
            && then == generation
        {
            return Ok(Some(id));
        }
        let read = async || {
            let mut reader = self.db().reader().await?;
            let found = repositories::find(&mut reader, name.as_str()).await?;
            Ok(found.map(|repository| repository.id))
        };
        let (last, text) = (&self.0.remembered.last_repositories, name.as_str());
        let found = last.read(self.db(), text, || text.into(), read).await?;
        if let (Some(generation), Some(id)) = (generation, found) {
            remembered.insert(name.as_str().into(), (generation, id));
        }
        Ok(found)
    }

    /// The manifest that a tag or digest stands for now; `None` when there is none, or when its bytes were lost.
    pub async fn find_manifest(
        &self,
        name: NameRef<'_>,
        reference: &ReferenceRef<'_>,
    ) -> Result<Option<Arc<Manifest>>> {
        if !self.db().is_exclusive() {
            return match self.find_repository(name).await? {
                Some(repository) => self.read_manifest(name, repository, reference).await,
                None => Ok(None),
            };
        }
        let (generations, remembered) = (self.db().generations(), &self.0.remembered.references);
        let key = KeyRef {
            name,
            reference: *reference,
        };
        if let Some(known) = remembered.get(&key)
            && known.seen == generations.of(known.repository)
        {
            return Ok(Some(known.manifest));
        }
        let rights = generations.rights();
        let Some(repository) = self.find_repository(name).await? else {
            return Ok(None);
        };
        let seen = generations.of(repository);
        let found = self.read_manifest(name, repository, reference).await?;
        // What the name stands for was asked before `seen`: it must not have changed in between.
        if let Some(manifest) = &found
            && rights == generations.rights()
        {
            let key = Key {
                name: name.owned(),
                reference: reference.owned(),
            };
            let known = Known {
                seen,
                repository,
                manifest: manifest.clone(),
            };
            remembered.insert(key, known);
        }
        Ok(found)
    }

    async fn read_manifest(
        &self,
        name: NameRef<'_>,
        repository: RepositoryId,
        reference: &ReferenceRef<'_>,
    ) -> Result<Option<Arc<Manifest>>> {
        let read = async || {
            let mut reader = self.db().reader().await?;
            let found = match reference {
                ReferenceRef::Tag(tag) => {
                    artifacts::find_tagged(&mut reader, repository, tag.as_str()).await?
                }
                ReferenceRef::Digest(digest) => {
                    artifacts::find(&mut reader, repository, digest).await?
                }
            };
            Ok(found)
        };
        let key = KeyRef {
            name,
            reference: *reference,
        };
        let own = || Key {
            name: name.owned(),
            reference: reference.owned(),
        };
        let last = &self.0.remembered.last_artifacts;
        let found = last.read(self.db(), &key, own, read).await?;
        let Some(artifact) = found.filter(|artifact| artifact.state != State::Lost) else {
            return Ok(None);
        };
        let bytes = self.manifest_bytes(&artifact).await?;
        Ok(bytes.map(|bytes| Arc::new(Manifest::new(artifact, bytes))))
    }

    async fn manifest_bytes(&self, artifact: &Artifact) -> Result<Option<Bytes>> {
        if let Some(bytes) = self.0.remembered.manifest(&artifact.digest) {
            return Ok(Some(bytes));
        }
        let (digest, location) = (&artifact.digest, &artifact.location);
        match self.read_whole(digest, location, artifact.size).await {
            Ok(bytes) => {
                self.0
                    .remembered
                    .keep_manifest(artifact.digest, bytes.clone());
                Ok(Some(bytes))
            }
            Err(blob::Error::NotFound | blob::Error::Damaged(_) | blob::Error::TooLarge { .. }) => {
                tracing::error!(digest = %artifact.digest, "a manifest's bytes are missing or damaged: push it again to heal it");
                self.suspect(&artifact.digest).await?;
                Ok(None)
            }
            Err(error) => Err(crate::store_error(error)),
        }
    }

    /// The content as this repository may read it. One that nobody has read yet is read first.
    pub async fn find_blob(&self, name: NameRef<'_>, digest: &Digest) -> Result<Option<Arc<Blob>>> {
        let Some(repository) = self.find_repository(name).await? else {
            return Ok(None);
        };
        let seen = self
            .db()
            .is_exclusive()
            .then(|| self.db().generations().of(repository));
        let remembered = &self.0.remembered.contents;
        if let Some(seen) = seen
            && let Some((then, blob)) = remembered.get(&(repository, *digest))
            && then == seen
        {
            return Ok(Some(blob));
        }
        let read = async || {
            let mut reader = self.db().reader().await?;
            let found = links::find(&mut reader, repository, digest).await?;
            Ok(found.filter(|blob| blob.state.is_readable()).map(Arc::new))
        };
        let (last, key) = (&self.0.remembered.last_contents, (repository, *digest));
        let Some(blob) = last.read(self.db(), &key, || key, read).await? else {
            return Ok(None);
        };
        if blob.state == State::Adopted {
            return self.after_first_read(repository, digest).await;
        }
        if let Some(seen) = seen {
            remembered.insert((repository, *digest), (seen, blob.clone()));
        }
        Ok(Some(blob))
    }

    /// Repositories that hold a content, as sources of a mount without `from`; the caller asks who may read them.
    pub async fn find_holders(&self, digest: &Digest, limit: i64) -> Result<Vec<RepoName>> {
        let names = links::holders(&mut *self.db().reader().await?, digest, limit).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }
}
