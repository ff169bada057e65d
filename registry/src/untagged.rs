//! Deleting what has no tag, as Harbor's collection does when it is asked to: manifests that no index names and that are attached to
//! nothing.

use db::{
    artifacts::Known,
    jobs::Attempt,
    repositories::{self, Repository},
    retention::{self, Candidate},
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
    /// Deletes all manifests without a tag that are older than `gc.untagged_grace`, repository by repository; with `dry_run` none. What goes is
    /// told to `each`, of which nothing is kept. Answers how many went.
    pub async fn delete_untagged(
        &self,
        dry_run: bool,
        attempt: Option<Attempt>,
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
                    .untagged_of(&repository, dry_run, attempt, cancel, &mut each)
                    .await?;
            }
        }
        Ok(count)
    }

    async fn untagged_of(
        &self,
        repository: &Repository,
        dry_run: bool,
        attempt: Option<Attempt>,
        cancel: &CancellationToken,
        each: &mut (impl FnMut(Untagged) + Send),
    ) -> Result<u64> {
        let now = self.db().now().await?;
        let before = now.minus(self.config().gc_untagged_grace);
        let bin = Bin::begin(Cause::Untagged, self.config().trash_keep, now);
        let (mut after, mut count) = ((Timestamp(i64::MIN), ArtifactId(0)), 0);
        while !cancel.is_cancelled() {
            let found = {
                let mut reader = self.db().reader().await?;
                retention::candidates(&mut reader, repository.id, after, ARTIFACTS).await?
            };
            let Some(last) = found.last() else { break };
            after = (last.pushed_at, last.id);
            let is_over = last.pushed_at >= before;
            let untagged = self.without_tags(found, before).await?;
            let done = if dry_run {
                Pruned {
                    deleted: untagged.len() as u64,
                    ..Pruned::default()
                }
            } else {
                let going = untagged.iter().map(|one| (one.id, known(one))).collect();
                self.delete_judged(repository, going, bin.clone(), attempt, cancel, |_| ())
                    .await?
            };
            count += done.deleted;
            for one in untagged {
                if !done.spared.iter().any(|(spared, _)| *spared == one.id) {
                    each(Untagged {
                        repository: repository.name.clone(),
                        digest: one.digest,
                    });
                }
            }
            if is_over {
                break;
            }
        }
        Ok(count)
    }

    async fn without_tags(
        &self,
        found: Vec<Candidate>,
        before: Timestamp,
    ) -> Result<Vec<Candidate>> {
        let old: Vec<Candidate> = found
            .into_iter()
            .filter(|one| one.pushed_at < before && !one.is_part)
            .collect();
        let ids: Vec<ArtifactId> = old.iter().map(|one| one.id).collect();
        let tagged = retention::tagged(&mut *self.db().reader().await?, &ids).await?;
        let has_tag = |one: &Candidate| tagged.binary_search(&one.id).is_ok();
        Ok(old.into_iter().filter(|one| !has_tag(one)).collect())
    }
}

/// It must have no tag when it goes, and be no younger.
fn known(one: &Candidate) -> Known {
    Known {
        tags: 0,
        tag_ids: 0,
        pushed_at: one.pushed_at,
        pulled_at: one.pulled_at,
    }
}
