//! Rebuilding: the database is gone, the store is whole. Every content gets its row again, and every manifest is found by
//! looking at the contents themselves; tags are not in the store, so they are gone and are not guessed.
//!
//! What is found goes into one private repository, `recovered/manifests`, from where it can be tagged and copied. The
//! rule for what may be collected afterwards: a manifest stays until somebody deletes it, with all it names; content
//! that no manifest names stays `KEEP_UNNAMED`, far longer than an ordinary upload, since it may be a layer whose
//! manifest is pushed again only when somebody misses it.
//!
//! Each step leaves what is there already alone, so a rebuild that was interrupted is simply started again.

mod manifests;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use blob::{Found, Verdict};
use db::{
    blobs::{self, State, adopted},
    links, projects,
    repositories::{self, Repository},
};
use model::{Result, id::UserId};
use oci::{digest::Digest, name::RepoName};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{Registry, store_error};

/// Where recovered manifests are found.
pub const PROJECT: &str = "recovered";
pub const REPOSITORY: &str = "recovered/manifests";
/// How long content stays that no recovered manifest names.
const KEEP_UNNAMED: Duration = Duration::from_hours(90 * 24);
/// Up to this length content is read and compared in any case.
const SMALL: u64 = 64 << 20;
/// Contents in one transaction.
const BATCH: usize = 100;
const EXAMPLES: usize = 100;

#[derive(Debug, Clone)]
pub struct RebuildOptions {
    /// Reads all bytes and compares digests. Otherwise content over `SMALL` is taken in as it is, and read before it is served
    /// for the first time, or by the next scrub, before anything else.
    pub verify: bool,
    /// Who owns the project that recovered manifests go into.
    pub owner: UserId,
}

/// What a rebuild has done so far.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RebuildProgress {
    /// Files found in the store.
    pub found: u64,
    pub bytes: u64,
    /// Contents whose row was made.
    pub contents: u64,
    /// Files whose bytes have another digest, or that have a good twin: left where they are, without a row.
    pub refused: u64,
    /// Manifests put into the repository.
    pub manifests: u64,
    /// Of these, those that name something which is not in the store.
    pub incomplete: u64,
    /// Files and directories that the disk does not show.
    pub unreadable: u64,
}

/// What a rebuild has done.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RebuildReport {
    #[serde(flatten)]
    pub done: RebuildProgress,
    /// False when it was cancelled before its end, or the disk did not show everything; the next one goes on.
    pub complete: bool,
    pub duration_ms: u64,
    /// The first contents that were refused or not shown and manifests that are incomplete, and why.
    pub examples: Vec<String>,
}

/// One rebuild under way.
struct Rebuild<'a> {
    registry: &'a Registry,
    verify: bool,
    repository: Repository,
    cancel: &'a CancellationToken,
    progress: &'a (dyn Fn(&RebuildProgress) + Send + Sync),
    report: RebuildReport,
}

impl Registry {
    /// Fills a new database from the store. Call [`crate::fsck::adopt_store`] first, so that database and store belong
    /// together, and make the owner's row.
    pub async fn rebuild(
        &self,
        options: &RebuildOptions,
        cancel: &CancellationToken,
        progress: impl Fn(&RebuildProgress) + Send + Sync,
    ) -> Result<RebuildReport> {
        let start = Instant::now();
        self.check_store().await?;
        let name: RepoName = REPOSITORY.parse().expect("a repository's name");
        let repository = self.recovered(options.owner, name).await?;
        let report = RebuildReport::default();
        let mut rebuild = Rebuild {
            registry: self,
            verify: options.verify,
            repository,
            cancel,
            progress: &progress,
            report,
        };
        rebuild.contents().await?;
        rebuild.manifests().await?;
        let mut report = rebuild.report;
        report.complete = !cancel.is_cancelled() && report.done.unreadable == 0;
        report.duration_ms = start.elapsed().as_millis() as u64;
        Ok(report)
    }

    async fn recovered(&self, owner: UserId, name: RepoName) -> Result<Repository> {
        self.db()
            .write(move |tx| {
                let name = name.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    let project = if let Some(project) = projects::find_name(tx, PROJECT).await? {
                        project.id
                    } else {
                        let new = projects::NewProject::named(PROJECT.parse()?, owner);
                        projects::insert(tx, &new, now).await?
                    };
                    repositories::ensure(tx, project, &name, now).await
                })
            })
            .await
    }
}

impl Rebuild<'_> {
    /// A row and a link for every content in the store.
    async fn contents(&mut self) -> Result<()> {
        let mut listing = self.registry.store().list();
        while !self.cancel.is_cancelled() {
            let Some(batch) = listing.next().await.map_err(store_error)? else {
                return Ok(());
            };
            for what in batch.unreadable {
                self.report.done.unreadable += 1;
                self.example(what);
            }
            let twice = listed_twice(&batch.found);
            for found in batch.found.chunks(BATCH) {
                self.take_in(found, &twice).await?;
                (self.progress)(&self.report.done);
            }
        }
        Ok(())
    }

    async fn take_in(&mut self, batch: &[Found], twice: &HashSet<Digest>) -> Result<()> {
        let digests: Vec<Digest> = batch.iter().map(|found| found.digest).collect();
        let known = blobs::find_all(&mut *self.registry.db().reader().await?, &digests).await?;
        let mut taken = Vec::with_capacity(batch.len());
        for found in batch {
            if self.cancel.is_cancelled() {
                break;
            }
            self.report.done.found += 1;
            self.report.done.bytes += found.size;
            let twins = || known.iter().filter(|blob| blob.digest == found.digest);
            if twins().any(|blob| blob.location == found.location) {
                continue;
            }
            if twins().any(|blob| blob.state != State::Deleting) {
                self.refuse(found, "another file holds the same content");
                continue;
            }
            // Of two files the good one must get the row.
            let verified = self.verify || found.size <= SMALL || twice.contains(&found.digest);
            if verified && let Some(why) = self.fault(found).await? {
                self.refuse(found, &why);
            } else {
                taken.push(Taken {
                    found: found.clone(),
                    verified,
                });
            }
        }
        if taken.is_empty() {
            Ok(())
        } else {
            self.insert(taken).await
        }
    }

    fn refuse(&mut self, found: &Found, why: &str) {
        self.report.done.refused += 1;
        self.example(format!("{} at `{}`: {why}", found.digest, found.location));
    }

    fn example(&mut self, text: String) {
        if self.report.examples.len() < EXAMPLES {
            self.report.examples.push(text);
        }
    }

    /// What is wrong with the bytes, if anything.
    async fn fault(&self, found: &Found) -> Result<Option<String>> {
        match self
            .registry
            .store()
            .verify(&found.digest, &found.location, None, self.cancel)
            .await
        {
            Ok(Verdict::Good { .. }) => Ok(None),
            Ok(Verdict::Missing) => Ok(Some("it went while it was looked at".to_owned())),
            Ok(Verdict::Damaged(damage)) => Ok(Some(damage.to_string())),
            Err(blob::Error::Cancelled) => Ok(Some(
                "not read to its end: the rebuild was cancelled".to_owned(),
            )),
            Err(error) => Err(store_error(error)),
        }
    }

    async fn insert(&mut self, taken: Vec<Taken>) -> Result<()> {
        let (repository, files) = (self.repository.clone(), taken.len() as u64);
        let made = self
            .registry
            .db()
            .write(move |tx| {
                let (repository, taken) = (repository.clone(), taken.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    let mut made = 0;
                    for Taken { found, verified } in &taken {
                        let (digest, size) = (&found.digest, found.size);
                        let generation = blobs::generation_of(&found.location);
                        let location = &found.location;
                        let id = if *verified {
                            blobs::insert(tx, digest, generation, size, location, now).await?
                        } else {
                            adopted::insert(tx, digest, generation, size, location, now).await?
                        };
                        // A twin in the same batch was first.
                        let Some(id) = id else { continue };
                        links::add(tx, &repository, id, Some(now.plus(KEEP_UNNAMED)), now).await?;
                        made += 1;
                    }
                    Ok(made)
                })
            })
            .await?;
        self.report.done.contents += made;
        self.report.done.refused += files - made;
        Ok(())
    }
}

/// A file that gets a row.
#[derive(Clone)]
struct Taken {
    found: Found,
    /// Its bytes were read and are good.
    verified: bool,
}

/// Contents that have more than one file: their files are listed one after the other.
fn listed_twice(found: &[Found]) -> HashSet<Digest> {
    found
        .windows(2)
        .filter(|pair| pair[0].digest == pair[1].digest)
        .map(|pair| pair[0].digest)
        .collect()
}
