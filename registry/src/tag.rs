//! Tags of manifests that are there already: a manifest's own push sets its tags (manifest.rs).

use db::{artifacts, repositories, tags, trash};
use model::{Error, Result, What};
use oci::{
    digest::Digest,
    name::{RepoName, Tag},
};

use crate::Registry;

impl Registry {
    /// Tags a manifest with what no manifest of the repository has.
    pub async fn create_tag(&self, name: &RepoName, digest: &Digest, tag: &Tag) -> Result<()> {
        let (name, digest, tag) = (name.clone(), *digest, tag.clone());
        self.db()
            .write(move |tx| {
                let (name, tag) = (name.clone(), tag.clone());
                Box::pin(async move {
                    let missing = || {
                        Error::not_found(
                            What::Manifest,
                            format!("artifact {name}@{digest} not found"),
                        )
                    };
                    let repository = repositories::find(tx, name.as_str()).await?;
                    let repository = repository.ok_or_else(missing)?;
                    let held = artifacts::hold(tx, repository.id, &[digest]).await?;
                    let (artifact, ..) = held.first().ok_or_else(missing)?;
                    let now = tx.now().await?;
                    let cause = tags::Cause::Tagging;
                    tags::set(tx, &repository, &tag, *artifact, &digest, cause, now).await
                })
            })
            .await
    }

    /// Removes a tag that this manifest has, and nothing else.
    pub async fn remove_tag(&self, name: &RepoName, digest: &Digest, tag: &Tag) -> Result<()> {
        let (name, digest, tag) = (name.clone(), *digest, tag.clone());
        let keep = self.config().trash_keep;
        self.db()
            .write(move |tx| {
                let (name, tag) = (name.clone(), tag.clone());
                Box::pin(async move {
                    let missing = || {
                        Error::not_found(
                            What::Tag,
                            format!("tag {tag} attached to artifact {name}@{digest} not found"),
                        )
                    };
                    let repository = repositories::find(tx, name.as_str()).await?;
                    let repository = repository.ok_or_else(missing)?;
                    let artifact = artifacts::find(tx, repository.id, &digest).await?;
                    let artifact = artifact.ok_or_else(missing)?.id;
                    let now = tx.now().await?;
                    let bin = trash::Bin::begin(trash::Cause::Delete, keep, now);
                    let of = Some(artifact);
                    match tags::delete(tx, &repository, &tag, of, bin.as_ref(), now).await {
                        Err(Error::NotFound(..)) => Err(missing()),
                        other => other,
                    }
                })
            })
            .await
    }
}
