//! Copying an artifact to another repository, with all that belongs to it: what an index names, what is attached to it, and the
//! tags of each. No byte moves. Each manifest with some of its tags, each further few dozen tags, and each few hundred of its
//! contents, is a transaction of its own; what an interrupted copy leaves is fresh content, as an interrupted push does, and
//! the tags that were set by then.

use std::collections::HashSet;

use db::{
    Conn,
    artifacts::details::{self, Details},
    repositories::{self, Repository},
    tags,
};
use model::{Error, Result, What, id::ArtifactId, listing::Listing};
use oci::{
    Manifest,
    digest::Digest,
    name::{RepoName, Tag},
    reference::{Reference, ReferenceRef},
};

use crate::{
    Registry,
    manifest::{NewManifest, Way},
    push::Target,
};

/// Artifacts that go with one.
const MOST: usize = 10_000;
/// Tags that are set in one transaction.
const MOST_TAGS: usize = 64;
/// Contents that become the destination's in one transaction.
const AT_ONCE: usize = 200;

/// One step of the walk over what is to be copied.
enum Step {
    Enter(Details),
    Leave(Details),
}

impl Registry {
    /// Copies an artifact of `from`. Who may do so is the caller's question.
    pub async fn copy_artifact(
        &self,
        target: &Target,
        from: &RepoName,
        digest: &Digest,
    ) -> Result<()> {
        let source = repositories::find(&mut *self.db().reader().await?, from.as_str()).await?;
        let source = source.ok_or_else(|| missing(from, digest))?;
        let root = details::find(&mut *self.db().reader().await?, source.id, digest).await?;
        let root = root.ok_or_else(|| missing(from, digest))?;
        self.check_tags(target, &root).await?;
        for artifact in self.plan(target, root).await? {
            self.copy_one(target, &source, from, &artifact).await?;
        }
        Ok(())
    }

    /// An immutable tag at the destination is told before anything is copied. What holds is judged when the tag is set.
    async fn check_tags(&self, target: &Target, root: &Details) -> Result<()> {
        let conn = &mut *self.db().reader().await?;
        let Some(there) = repositories::find(conn, target.name.as_str()).await? else {
            return Ok(());
        };
        let rules = db::immutable::rules(conn, target.project).await?;
        if rules.is_empty() {
            return Ok(());
        }
        let same = details::find(conn, there.id, &root.digest).await?;
        for tag in tags::details::of_all(conn, &[root.id]).await? {
            if !rules.hold(&there.name, &tag.name) {
                continue;
            }
            let Ok(name) = Tag::parse(tag.name.as_str()).map(Tag::owned) else {
                continue;
            };
            let holder = tags::holder(conn, &there, &name).await?;
            if holder.is_some() && holder != same.as_ref().map(|same| same.id) {
                return Err(Error::Precondition(format!(
                    "the tag {name} configured as immutable, cannot be updated"
                )));
            }
        }
        Ok(())
    }

    /// What is to be copied, each after all that it names. What is there already stays as it is, but for the root.
    async fn plan(&self, target: &Target, root: Details) -> Result<Vec<Details>> {
        let conn = &mut *self.db().reader().await?;
        let there = repositories::find(conn, target.name.as_str()).await?;
        let root_id = root.id;
        let (mut entered, mut order) = (HashSet::new(), Vec::new());
        let mut steps = vec![Step::Enter(root)];
        while let Some(step) = steps.pop() {
            let artifact = match step {
                Step::Enter(artifact) if entered.insert(artifact.id) => artifact,
                Step::Enter(_) => continue,
                Step::Leave(artifact) => {
                    order.push(artifact);
                    continue;
                }
            };
            if artifact.id != root_id
                && let Some(there) = &there
                && details::find(conn, there.id, &artifact.digest)
                    .await?
                    .is_some()
            {
                continue;
            }
            let (named, attached) = belonging(conn, &artifact).await?;
            // The last in is the first out: what it names comes before it, what is attached to it after.
            steps.extend(attached.into_iter().map(Step::Enter));
            steps.push(Step::Leave(artifact));
            steps.extend(named.into_iter().map(Step::Enter));
            if order.len() + steps.len() > MOST {
                return Err(Error::TooLarge(format!(
                    "more than {MOST} artifacts belong to this one: copy them with a client"
                )));
            }
        }
        Ok(order)
    }

    async fn copy_one(
        &self,
        target: &Target,
        source: &Repository,
        from: &RepoName,
        artifact: &Details,
    ) -> Result<()> {
        let reference = ReferenceRef::Digest(artifact.digest);
        let found = self.find_manifest(from.borrowed(), &reference).await?;
        let stored = found.ok_or_else(|| missing(from, &artifact.digest))?;
        let manifest = Manifest::parse(&stored.bytes, Some(&artifact.media_type))
            .map_err(|error| Error::invalid(What::Manifest, error.to_string()))?;
        let mut contents: Vec<Digest> = manifest.blobs().map(|blob| blob.digest).collect();
        contents.sort();
        contents.dedup();
        if source.name != target.name.as_str() {
            for some in contents.chunks(AT_ONCE) {
                self.mount_all(target, source, some).await?;
            }
        }
        let named = self.tags_of(artifact.id).await?;
        // The manifest first, and some tags with it; the others some at a time, as other writers wait for each transaction.
        let mut chunks: Vec<&[Tag]> = named.chunks(MOST_TAGS).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        for tags in chunks {
            let new = NewManifest {
                bytes: stored.bytes.clone(),
                content_type: Some(artifact.media_type.clone()),
                reference: Reference::Digest(artifact.digest),
                tags: tags.to_vec(),
            };
            self.keep_manifest_by(target, new, Way::Copy).await?;
        }
        Ok(())
    }

    /// All of them, in the order in which they were made.
    async fn tags_of(&self, artifact: ArtifactId) -> Result<Vec<Tag>> {
        let of_artifact = tags::details::of(artifact);
        let selection = tags::details::LIST.select(&Listing::default(), of_artifact)?;
        let mut reader = self.db().reader().await?;
        let total = selection.total(&mut reader, None).await?;
        let (mut batches, mut all) = (selection.all(total)?, Vec::new());
        while !batches.is_over() {
            all.extend(batches.next(&mut reader).await?);
        }
        let parsed = all
            .iter()
            .filter_map(|tag| Tag::parse(tag.name.as_str()).ok());
        Ok(parsed.map(Tag::owned).collect())
    }
}

/// What an artifact names, and what is attached to it.
async fn belonging(conn: &mut Conn, artifact: &Details) -> Result<(Vec<Details>, Vec<Details>)> {
    let (mut named, mut attached) = (Vec::new(), Vec::new());
    for child in details::children(conn, &[artifact.id]).await? {
        let digest = Digest::parse(&child.digest).map_err(model::error::internal("a digest"))?;
        named.extend(details::find(conn, artifact.repository, &digest).await?);
    }
    for accessory in details::accessories(conn, &[artifact.id]).await? {
        attached.extend(details::find(conn, artifact.repository, &accessory.digest).await?);
    }
    Ok((named, attached))
}

fn missing(name: &RepoName, digest: &Digest) -> Error {
    Error::not_found(
        What::Manifest,
        format!("artifact {name}@{digest} not found"),
    )
}
