//! Deleting tags, manifests, contents, repositories and projects. What was released is kept for `gc.grace`; where there is a trash
//! (`trash.keep`), what was deleted goes there first.

use db::{
    artifacts::{self, Deletion},
    blobs, links, projects, repositories, tags,
    trash::{self, Bin, Cause},
};
use model::{Error, Result, What, id::ProjectId};
use oci::{
    digest::Digest,
    name::{RepoName, Tag},
};

use crate::Registry;

impl Registry {
    /// Removes one tag and nothing else.
    pub async fn delete_tag(&self, name: &RepoName, tag: &Tag) -> Result<()> {
        let (name, tag, keep) = (name.clone(), tag.clone(), self.config().trash_keep);
        self.db()
            .write(move |tx| {
                let (name, tag) = (name.clone(), tag.clone());
                Box::pin(async move {
                    let repository = repositories::find(tx, name.as_str()).await?;
                    let repository =
                        repository.ok_or_else(|| not_found(&name, &format!(":{tag}")))?;
                    let now = tx.now().await?;
                    let bin = Bin::begin(Cause::Delete, keep, now);
                    tags::delete(tx, &repository, &tag, None, bin.as_ref(), now).await
                })
            })
            .await
    }

    /// Deletes a manifest with its tags, its accessories, and what an index names and nothing else needs. One that an index of
    /// the repository names stays. In several transactions when there is much; what a step left is there to be deleted again.
    pub async fn delete_manifest(&self, name: &RepoName, digest: &Digest) -> Result<()> {
        let mut deletion = None;
        while !deletion.as_ref().is_some_and(Deletion::is_done) {
            deletion = Some(self.delete_some(name, digest, deletion).await?);
        }
        Ok(())
    }

    async fn delete_some(
        &self,
        name: &RepoName,
        digest: &Digest,
        begun: Option<Deletion>,
    ) -> Result<Deletion> {
        let (name, digest) = (name.clone(), *digest);
        let (grace, keep) = (self.config().gc_grace, self.config().trash_keep);
        self.db()
            .write(move |tx| {
                let (name, begun) = (name.clone(), begun.clone());
                Box::pin(async move {
                    let missing = || not_found(&name, &format!("@{digest}"));
                    let repository = repositories::find(tx, name.as_str()).await?;
                    let repository = repository.ok_or_else(missing)?;
                    let now = tx.now().await?;
                    let mut deletion = if let Some(begun) = begun {
                        begun
                    } else {
                        let artifact = artifacts::find(tx, repository.id, &digest).await?;
                        let bin = Bin::begin(Cause::Delete, keep, now);
                        Deletion::of(&artifact.ok_or_else(missing)?, bin)
                    };
                    let check_at = now.plus(grace);
                    artifacts::delete_some(tx, &repository, &mut deletion, check_at, now).await?;
                    Ok(deletion)
                })
            })
            .await
    }

    /// Deletes a repository with all it holds. In several transactions when there is much; the last one takes its name away.
    pub async fn delete_repository(&self, name: &RepoName) -> Result<()> {
        self.check_not_importing(name).await?;
        let found = repositories::find(&mut *self.db().reader().await?, name.as_str()).await?;
        let repository = found.ok_or_else(|| {
            Error::not_found(What::Repository, format!("repository {name} not found"))
        })?;
        // A tag that becomes immutable meanwhile stops it where it stands.
        tags::check_all_deletable(&mut *self.db().reader().await?, &repository).await?;
        let (grace, keep) = (self.config().gc_grace, self.config().trash_keep);
        let bin = Bin::begin(Cause::Delete, keep, self.db().now().await?);
        loop {
            let (repository, bin) = (repository.clone(), bin.clone());
            let has_gone = self.db().write(move |tx| {
                let (repository, bin) = (repository.clone(), bin.clone());
                Box::pin(async move {
                    let (now, bin) = (tx.now().await?, bin.as_ref());
                    repositories::delete_some(tx, &repository, bin, now.plus(grace), now).await
                })
            });
            if has_gone.await? {
                return Ok(());
            }
        }
    }

    /// Deletes a project that holds no repositories, with what belongs to it.
    pub async fn delete_project(&self, id: ProjectId) -> Result<()> {
        let keep = self.config().trash_keep;
        self.db()
            .write(move |tx| {
                Box::pin(async move {
                    let project = projects::find(tx, id).await?;
                    let project = project.ok_or_else(|| {
                        Error::not_found(What::Project, format!("project {id} not found"))
                    })?;
                    let now = tx.now().await?;
                    if let Some(bin) = Bin::begin(Cause::Delete, keep, now) {
                        trash::projects::keep(tx, &bin, &project, now).await?;
                    } else {
                        trash::projects::end_things(tx, id, now).await?;
                    }
                    projects::delete(tx, &project, now).await
                })
            })
            .await
    }

    /// Takes a content from a repository, unless a manifest of it names it.
    pub async fn delete_blob(&self, name: &RepoName, digest: &Digest) -> Result<()> {
        self.check_not_importing(name).await?;
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
                    let blob = links::find(tx, repository.id, &digest)
                        .await?
                        .ok_or_else(missing)?;
                    if !links::remove_unless_named(tx, &repository, blob.id).await? {
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

fn not_found(name: &RepoName, reference: &str) -> Error {
    Error::not_found(
        What::Manifest,
        format!("artifact {name}{reference} not found"),
    )
}

#[cfg(test)]
mod tests;
