//! Manifests and tags of a tree, taken in as a push would: images before the indexes that list them, tags last.

use std::collections::{HashMap, HashSet};

use blob::Error as BlobError;
use bytes::Bytes;
use db::{
    artifacts,
    blobs::{self, State},
    imported,
    repositories::Repository,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use model::{Result, time::Timestamp};
use oci::{
    digest::Digest,
    manifest::{Kind, MAX_MANIFEST_BYTES, Manifest, ManifestError},
    name::Tag,
    reference::Reference,
};

use super::{
    Left, Run,
    repositories::{BATCH, Current, is_refusal},
};
use crate::{
    Registry,
    manifest::{NewManifest, Way},
    push::Target,
    store_error,
};

/// Manifests and tags that are taken in at once: their commits share flushes.
const PARALLEL: usize = 8;

/// What came of a manifest.
enum Taken {
    /// It is here, and names so many things that are not.
    Here {
        missing: usize,
    },
    /// An index, which waits for what it lists.
    Index,
    Left(Left, String),
}

impl Run<'_> {
    pub(super) async fn take_manifests(
        &mut self,
        target: &Target,
        current: &mut Current,
        manifests: Vec<(Digest, Timestamp)>,
    ) -> Result<()> {
        let Some(repository) = current.repository.clone() else {
            return Ok(());
        };
        let indexes = self
            .take_some(target, &repository, &manifests, None)
            .await?;
        current.indexes.extend(indexes);
        self.tell();
        Ok(())
    }

    /// Answers the indexes that wait.
    async fn take_some(
        &mut self,
        target: &Target,
        repository: &Repository,
        some: &[(Digest, Timestamp)],
        after: Option<&HashSet<Digest>>,
    ) -> Result<Vec<(Digest, Timestamp)>> {
        let registry = self.registry;
        let taken = stream::iter(some.iter().copied()).map(|(digest, at)| async move {
            let taken = registry.take_manifest(target, repository, &digest, at, after);
            taken.await.map(|taken| (digest, at, taken))
        });
        let taken: Vec<_> = taken.buffered(PARALLEL).try_collect().await?;
        let mut waiting = Vec::new();
        for (digest, at, taken) in taken {
            match taken {
                Taken::Index => waiting.push((digest, at)),
                other => self.note(target, &digest, other),
            }
        }
        Ok(waiting)
    }

    /// Those whose lists are here, again and again, until no more come.
    pub(super) async fn take_indexes(
        &mut self,
        target: &Target,
        current: &mut Current,
    ) -> Result<()> {
        let Some(repository) = current.repository.clone() else {
            return Ok(());
        };
        let mut waiting = std::mem::take(&mut current.indexes);
        while !waiting.is_empty() && !self.is_over() {
            let all: HashSet<Digest> = waiting.iter().map(|(digest, _)| *digest).collect();
            let (before, mut later) = (waiting.len(), Vec::new());
            for some in waiting.chunks(BATCH) {
                later.extend(
                    self.take_some(target, &repository, some, Some(&all))
                        .await?,
                );
            }
            // A digest cannot be in a circle, so some were taken.
            if later.len() == before {
                return Ok(());
            }
            waiting = later;
            self.tell();
        }
        Ok(())
    }

    fn note(&mut self, target: &Target, digest: &Digest, taken: Taken) {
        let name = &target.name;
        match taken {
            Taken::Here { missing } => {
                self.report.done.manifests += 1;
                if missing > 0 {
                    let what = format!("{name}@{digest}: {missing} are missing");
                    self.report.leave(Left::Incomplete, what);
                }
            }
            Taken::Index => {}
            Taken::Left(left, why) => self.report.leave(left, format!("{name}@{digest}: {why}")),
        }
    }

    pub(super) async fn take_tags(
        &mut self,
        target: &Target,
        repository: &Repository,
        old: &str,
        tags: Vec<(String, Timestamp)>,
    ) -> Result<()> {
        let names: Vec<String> = tags.iter().map(|(name, _)| name.clone()).collect();
        let here: HashMap<String, Digest> = {
            let mut reader = self.registry.db().reader().await?;
            let here = imported::tags(&mut reader, repository.id, &names).await?;
            here.into_iter().collect()
        };
        let registry = self.registry;
        let taken = stream::iter(tags).map(|(name, at)| {
            let here = here.get(&name).copied();
            async move {
                let taken = registry.take_tag(target, repository, old, &name, here, at);
                taken.await.map(|taken| (name, taken))
            }
        });
        let taken: Vec<_> = taken.buffered(PARALLEL).try_collect().await?;
        for (name, left) in taken {
            match left {
                None => self.report.done.tags += 1,
                Some((left, why)) => {
                    self.report
                        .leave(left, format!("{}:{name}: {why}", target.name));
                }
            }
        }
        self.tell();
        Ok(())
    }
}

impl Registry {
    /// One manifest, by its digest. With `after`, an index waits while it lists one of those; without, all indexes do.
    async fn take_manifest(
        &self,
        target: &Target,
        repository: &Repository,
        digest: &Digest,
        pushed_at: Timestamp,
        after: Option<&HashSet<Digest>>,
    ) -> Result<Taken> {
        let known = {
            let mut reader = self.db().reader().await?;
            artifacts::find(&mut reader, repository.id, digest).await?
        };
        if known.is_some() {
            return Ok(Taken::Here { missing: 0 });
        }
        let bytes = match self.tree_manifest(digest).await? {
            Ok(bytes) => bytes,
            Err(why) => return Ok(Taken::Left(Left::Lost, why)),
        };
        let manifest = match Manifest::parse(&bytes, None) {
            Ok(manifest) => manifest,
            Err(ManifestError::Schema1) => {
                return Ok(Taken::Left(Left::Schema1, "schema 1".to_owned()));
            }
            Err(error) => return Ok(Taken::Left(Left::Invalid, error.to_string())),
        };
        let waits = match after {
            None => manifest.kind == Kind::Index,
            Some(all) => manifest.children().any(|child| all.contains(&child.digest)),
        };
        if waits {
            return Ok(Taken::Index);
        }
        match self
            .keep_imported(target, digest, bytes, Vec::new(), pushed_at)
            .await
        {
            Ok(missing) => Ok(Taken::Here { missing }),
            Err(error) if is_refusal(&error) => Ok(Taken::Left(Left::Refused, error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// One tag: none when it is here now as it was there.
    async fn take_tag(
        &self,
        target: &Target,
        repository: &Repository,
        old: &str,
        name: &str,
        here: Option<Digest>,
        pushed_at: Timestamp,
    ) -> Result<Option<(Left, String)>> {
        let loose = |why: &str| Ok(Some((Left::LooseTag, why.to_owned())));
        let tag = match Tag::parse(name) {
            Ok(tag) => tag.borrowed().owned(),
            Err(error) => return Ok(Some((Left::Refused, error.to_string()))),
        };
        let read = self.store().tag_in_tree(old, name).await;
        let Some(digest) = read.map_err(store_error)? else {
            return loose("its file says no digest");
        };
        match here {
            Some(here) if here == digest => return Ok(None),
            Some(here) => return Ok(Some((Left::Kept, format!("{here}, and was {digest}")))),
            None => {}
        }
        let known = {
            let mut reader = self.db().reader().await?;
            artifacts::find(&mut reader, repository.id, &digest).await?
        };
        if known.is_none() {
            return loose(&format!("{digest} is not here"));
        }
        let bytes = match self.tree_manifest(&digest).await? {
            Ok(bytes) => bytes,
            Err(why) => return Ok(Some((Left::Lost, why))),
        };
        match self
            .keep_imported(target, &digest, bytes, vec![tag], pushed_at)
            .await
        {
            Ok(_) => Ok(None),
            Err(error) if is_refusal(&error) => Ok(Some((Left::Refused, error.to_string()))),
            Err(error) => Err(error),
        }
    }

    async fn keep_imported(
        &self,
        target: &Target,
        digest: &Digest,
        bytes: Bytes,
        tags: Vec<Tag>,
        pushed_at: Timestamp,
    ) -> Result<usize> {
        let new = NewManifest {
            bytes,
            content_type: None,
            reference: Reference::Digest(*digest),
            tags,
        };
        let way = Way::Import { pushed_at };
        let (_, missing) = self.keep_manifest_by(target, new, way).await?;
        Ok(missing)
    }

    /// The bytes of a manifest, checked; or what is wrong with them.
    async fn tree_manifest(&self, digest: &Digest) -> Result<Result<Bytes, String>> {
        let row = blobs::newest(&mut *self.db().reader().await?, digest).await?;
        let gone = |state| matches!(state, State::Deleting | State::Lost);
        let Some(row) = row.filter(|row| !gone(row.state)) else {
            return Ok(Err("its bytes are not in the store".to_owned()));
        };
        if let Some(bytes) = self.0.remembered.manifest(digest) {
            return Ok(Ok(bytes));
        }
        let read = self.store().read(digest, &row.location, MAX_MANIFEST_BYTES);
        match read.await {
            Ok(bytes) => {
                self.0.remembered.keep_manifest(*digest, bytes.clone());
                Ok(Ok(bytes))
            }
            Err(BlobError::TooLarge { len, .. }) => Ok(Err(format!("no manifest has {len} bytes"))),
            Err(error @ (BlobError::NotFound | BlobError::Damaged(_))) => {
                self.suspect(digest).await?;
                Ok(Err(error.to_string()))
            }
            Err(error) => Err(store_error(error)),
        }
    }
}
