//! Deleting what has no tag, as Harbor's collection does when it is asked to: manifests that no index names and that are attached to
//! nothing.

use db::{
    repositories::{self, Repository},
    retention,
    trash::{Bin, Cause},
};
use model::{
    Result,
    id::{ArtifactId, RepositoryId},
    time::Timestamp,
};
use oci::digest::Digest;
use tokio_util::sync::CancellationToken;

use crate::{Registry, retain::Pruned};

const REPOSITORIES: i64 = 200;
const ARTIFACTS: i64 = 500;

/// A manifest that went, or would.
#[derive(Debug, Clone)]
pub struct Untagged {
    /// With its project's name.
    pub repository: String,
    pub digest: Digest,
}

impl Registry {
    /// Deletes all manifests without a tag that are older than `gc.grace`, repository by repository; with `dry_run` none. What goes is
    /// told to `each`, of which nothing is kept. Answers how many went.
    pub async fn delete_untagged(
        &self,
        dry_run: bool,
        cancel: &CancellationToken,
        mut each: impl FnMut(Untagged) + Send,
    ) -> Result<u64> {
        let (mut after, mut count) = (RepositoryId(0), 0);
        while !cancel.is_cancelled() {
            let batch =
                repositories::walk(&mut *self.db().reader().await?, after, REPOSITORIES).await?;
            let Some(last) = batch.last() else { break };
            after = last.id;
            for repository in batch {
                count += self
                    .untagged_of(&repository, dry_run, cancel, &mut each)
                    .await?;
            }
        }
        Ok(count)
    }

    async fn untagged_of(
        &self,
        repository: &Repository,
        dry_run: bool,
        cancel: &CancellationToken,
        each: &mut (impl FnMut(Untagged) + Send),
    ) -> Result<u64> {
        let at = self.db().now().await?;
        let before = at.minus(self.config().gc_grace);
        let bin = Bin::begin(Cause::Untagged, self.config().trash_keep, at);
        let (mut after, mut count) = ((Timestamp(i64::MIN), ArtifactId(0)), 0);
        while !cancel.is_cancelled() {
            let found = {
                let mut reader = self.db().reader().await?;
                let id = repository.id;
                retention::untagged(&mut reader, id, before, after, ARTIFACTS).await?
            };
            let Some(last) = found.last() else { break };
            after = (last.pushed_at, last.id);
            let done = if dry_run {
                Pruned {
                    deleted: found.len() as u64,
                    ..Pruned::default()
                }
            } else {
                let going = found.iter().map(|one| one.id).collect();
                self.delete_judged(repository, going, at, bin.clone(), cancel, |_| ())
                    .await?
            };
            count += done.deleted;
            for one in found {
                if !done.spared.iter().any(|(spared, _)| *spared == one.id) {
                    each(Untagged {
                        repository: repository.name.clone(),
                        digest: one.digest,
                    });
                }
            }
        }
        Ok(count)
    }
}
