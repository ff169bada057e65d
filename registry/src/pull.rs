//! Pulling: which manifest a tag or digest stands for, and where a content's bytes are. What was read is remembered only
//! while nobody else writes the database, and only until a write changes it; bytes by digest are remembered anyway.

use std::sync::Arc;

use bytes::Bytes;
use db::{
    artifacts::{self, Artifact},
    blobs::{Blob, State},
    generations::Seen,
    links, repositories,
};
use model::{Result, id::RepositoryId};
use oci::{
    digest::Digest,
    name::{NameRef, RepoName},
    reference::ReferenceRef,
};
use quick_cache::{Equivalent, Weighter, sync::Cache};

use crate::Registry;

/// Names, tags and contents remembered; each entry is a few hundred bytes.
const REPOSITORIES: usize = 16_384;
const REFERENCES: usize = 65_536;
const CONTENTS: usize = 65_536;

/// A manifest ready to be served.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// What its tag or digest stands for now.
    pub artifact: Arc<Artifact>,
    pub bytes: Bytes,
}

/// What one node remembers of its reads.
pub struct Remembered {
    /// With the generation of rights under which it was read.
    repositories: Cache<Box<str>, (u64, RepositoryId)>,
    references: Cache<Key, (Seen, Arc<Artifact>)>,
    contents: Cache<(RepositoryId, Digest), (Seen, Arc<Blob>)>,
    manifests: Cache<Digest, Bytes, ByLength>,
}

#[derive(Clone)]
struct ByLength;

impl Weighter<Digest, Bytes> for ByLength {
    fn weight(&self, _: &Digest, bytes: &Bytes) -> u64 {
        bytes.len() as u64 + 128
    }
}

#[derive(Hash, PartialEq, Eq)]
struct Key {
    repository: RepositoryId,
    reference: Box<str>,
}

#[derive(Hash)]
struct KeyRef<'a> {
    repository: RepositoryId,
    reference: &'a str,
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.repository == key.repository && self.reference == &*key.reference
    }
}

impl Remembered {
    pub(crate) fn new(manifest_bytes: u64) -> Self {
        let about = usize::try_from(manifest_bytes / 2048)
            .unwrap_or(usize::MAX)
            .max(16);
        Self {
            repositories: Cache::new(REPOSITORIES),
            references: Cache::new(REFERENCES),
            contents: Cache::new(CONTENTS),
            manifests: Cache::with_weighter(about, manifest_bytes, ByLength),
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
        let found = repositories::find(&mut *self.db().reader().await?, name.as_str()).await?;
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
    ) -> Result<Option<Manifest>> {
        let Some(artifact) = self.find_artifact(name, reference).await? else {
            return Ok(None);
        };
        let bytes = self.manifest_bytes(&artifact).await?;
        Ok(bytes.map(|bytes| Manifest { artifact, bytes }))
    }

    async fn find_artifact(
        &self,
        name: NameRef<'_>,
        reference: &ReferenceRef<'_>,
    ) -> Result<Option<Arc<Artifact>>> {
        let Some(repository) = self.find_repository(name).await? else {
            return Ok(None);
        };
        let text;
        let asked = match reference {
            ReferenceRef::Tag(tag) => tag.as_str(),
            ReferenceRef::Digest(digest) => {
                text = digest.to_string();
                &text
            }
        };
        let seen = self
            .db()
            .is_exclusive()
            .then(|| self.db().generations().of(repository));
        let remembered = &self.0.remembered.references;
        if let Some(seen) = seen
            && let Some((then, artifact)) = remembered.get(&KeyRef {
                repository,
                reference: asked,
            })
            && then == seen
        {
            return Ok(Some(artifact));
        }
        let found = {
            let mut reader = self.db().reader().await?;
            match reference {
                ReferenceRef::Tag(tag) => {
                    artifacts::find_tagged(&mut reader, repository, tag.as_str()).await?
                }
                ReferenceRef::Digest(digest) => {
                    artifacts::find(&mut reader, repository, digest).await?
                }
            }
        };
        let Some(artifact) = found
            .filter(|artifact| artifact.state != State::Lost)
            .map(Arc::new)
        else {
            return Ok(None);
        };
        if let Some(seen) = seen {
            remembered.insert(
                Key {
                    repository,
                    reference: asked.into(),
                },
                (seen, artifact.clone()),
            );
        }
        Ok(Some(artifact))
    }

    async fn manifest_bytes(&self, artifact: &Artifact) -> Result<Option<Bytes>> {
        if let Some(bytes) = self.0.remembered.manifest(&artifact.digest) {
            return Ok(Some(bytes));
        }
        match self
            .store()
            .read(&artifact.digest, &artifact.location, artifact.size as usize)
            .await
        {
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

    /// The content as this repository may read it.
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
        let found = links::find(&mut *self.db().reader().await?, repository, digest).await?;
        let Some(blob) = found.filter(|blob| blob.state.is_readable()).map(Arc::new) else {
            return Ok(None);
        };
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
