//! Collection: links that nothing needs end, contents that no repository holds go. Online, in small batches, while pushes
//! go on; what may be taken back until when stands in `db::blobs`.
//!
//! The one thing to keep: a claim is committed before the first byte goes, and no transaction is held meanwhile. A push that comes
//! after the claim stores elsewhere, so however late a delete is, it hits only the old bytes. Only the last moment of a move to
//! another store waits for deletes that run: what they hit is never the new store.

mod preview;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use db::{
    blobs::{self, Blob, State, tombstones},
    links::{self, Due},
    replicas,
    repositories::Repository,
};
use model::{Error, Result, id::BlobId, time::Timestamp};
use oci::digest::Digest;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::Registry;

pub use preview::Candidate;

/// Links or contents in one transaction: a few milliseconds of the one writer that SQLite has.
const BATCH: i64 = 100;
/// Deletes at once: each waits for the file system's journal, which lets many through together.
const PARALLEL: usize = 16;
/// How long the row of a freed content stays: a collector that stood still must not find its location used anew.
const TOMBSTONE: Duration = Duration::from_hours(1);
/// A claim that was read longer ago than this is read again before its bytes go. Far below `TOMBSTONE`.
const MAX_DELAY: Duration = Duration::from_mins(10);
/// How often, and how long apart, replicas are asked whether they have a claim.
const LOOKS: usize = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// Freed contents that a report names.
const EXAMPLES: usize = 100;

/// What a run has done so far.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CollectProgress {
    /// Links whose time had come.
    pub links_asked: u64,
    /// Links that ended: no manifest of the repository names the content any more.
    pub links_ended: u64,
    /// Contents whose bytes went.
    pub freed: u64,
    pub bytes_freed: u64,
    /// Contents whose bytes could not be deleted; the next run tries again.
    pub failed: u64,
}

/// What a run has done.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CollectReport {
    #[serde(flatten)]
    pub done: CollectProgress,
    /// False when the run was cancelled before its end.
    pub complete: bool,
    pub duration_ms: u64,
    /// The first contents that went.
    pub examples: Vec<Freed>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Freed {
    pub digest: Digest,
    pub size: u64,
}

/// One run.
struct Run<'a, P> {
    registry: &'a Registry,
    cancel: &'a CancellationToken,
    progress: P,
    report: CollectReport,
}

impl Registry {
    /// Frees whatever may go now. Safe beside pushes, pulls, other collectors, and a kill at any moment.
    pub async fn collect(
        &self,
        cancel: &CancellationToken,
        progress: impl Fn(&CollectProgress) + Send + Sync,
    ) -> Result<CollectReport> {
        let start = Instant::now();
        let mut run = Run {
            registry: self,
            cancel,
            progress,
            report: CollectReport::default(),
        };
        // What an earlier run claimed goes first: nobody else can see it, so nobody else will free it.
        run.free().await?;
        run.end_links().await?;
        // What a move has carried already would stay where it goes.
        if !self.is_store_moving().await? {
            run.claim().await?;
        }
        run.bury().await?;
        let mut report = run.report;
        report.complete = !cancel.is_cancelled();
        report.duration_ms = start.elapsed().as_millis() as u64;
        Ok(report)
    }

    /// Whether a run would find anything to do, from a few reads of an index.
    pub async fn has_garbage(&self) -> Result<bool> {
        let now = self.db().now().await?;
        let mut reader = self.db().reader().await?;
        Ok(links::any_due(&mut reader, now).await?
            || tombstones::any_to_collect(&mut reader, now.minus(TOMBSTONE)).await?)
    }
}

impl<P: Fn(&CollectProgress) + Send + Sync> Run<'_, P> {
    /// Ends links that are due and that no manifest names, and condemns contents that nobody holds then.
    async fn end_links(&mut self) -> Result<()> {
        while !self.cancel.is_cancelled() {
            let now = self.registry.db().now().await?;
            let due = links::due(&mut *self.registry.db().reader().await?, now, BATCH).await?;
            if due.is_empty() {
                return Ok(());
            }
            self.report.done.links_asked += due.len() as u64;
            let last = due.len() < BATCH as usize;
            self.report.done.links_ended += self.registry.end_links(due).await?;
            (self.progress)(&self.report.done);
            if last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Claims condemned contents, and frees what it claims as it goes.
    async fn claim(&mut self) -> Result<()> {
        let mut after = BlobId(0);
        while !self.cancel.is_cancelled() {
            // Where a row says that bytes lie, they do not lie in another store.
            let _publishing = self.registry.publishing().await?;
            let condemned = {
                let reader = &mut *self.registry.db().reader().await?;
                blobs::in_state(reader, State::Condemned, after, BATCH).await?
            };
            let Some(last) = condemned.last() else {
                return Ok(());
            };
            after = last.id;
            let (claimed, at) = self.registry.claim_condemned(condemned).await?;
            if self.registry.replicas_have_all(self.cancel).await? {
                self.delete(claimed, at).await?;
            }
        }
        Ok(())
    }

    /// Frees contents that were claimed before.
    async fn free(&mut self) -> Result<()> {
        let now = self.registry.db().now().await?;
        let before = if self.registry.replicas_have_all(self.cancel).await? {
            now
        } else {
            now.minus(self.registry.config().failover_window)
        };
        let mut after = BlobId(0);
        while !self.cancel.is_cancelled() {
            let _publishing = self.registry.publishing().await?;
            let at = self.registry.db().now().await?;
            let claimed = {
                let reader = &mut *self.registry.db().reader().await?;
                blobs::claimed(reader, before, after, BATCH).await?
            };
            let Some(last) = claimed.last() else {
                return Ok(());
            };
            after = last.id;
            self.delete(claimed, at).await?;
        }
        Ok(())
    }

    /// Deletes the bytes of contents that were seen claimed at `at`. What fails stays claimed.
    async fn delete(&mut self, claimed: Vec<Blob>, at: Timestamp) -> Result<()> {
        if claimed.is_empty() {
            return Ok(());
        }
        // A store that is away would answer "not there" to each of them.
        self.registry.check_store().await?;
        if self.registry.db().now().await?.since(at) > MAX_DELAY {
            return Ok(());
        }
        let answers = self.registry.delete_bytes(&claimed).await;
        let (mut freed, mut bytes) = (Vec::with_capacity(claimed.len()), 0);
        for (blob, answer) in claimed.iter().zip(answers) {
            match answer {
                Ok(size) => {
                    freed.push(blob.id);
                    bytes += size;
                    if self.report.examples.len() < EXAMPLES {
                        self.report.examples.push(Freed {
                            digest: blob.digest,
                            size: blob.size,
                        });
                    }
                }
                Err(error) => {
                    self.report.done.failed += 1;
                    tracing::warn!(digest = %blob.digest, %error, "a content could not be deleted; the next collection tries again");
                }
            }
        }
        self.report.done.freed += freed.len() as u64;
        self.report.done.bytes_freed += bytes;
        metrics::counter!("seawall_collected_contents_total").increment(freed.len() as u64);
        metrics::counter!("seawall_collected_bytes_total").increment(bytes);
        self.registry.set_freed(freed).await?;
        (self.progress)(&self.report.done);
        Ok(())
    }

    /// Clears the places of what went an hour ago once more, and forgets what was cleared an hour ago: see `db::blobs::tombstones`.
    async fn bury(&mut self) -> Result<()> {
        while !self.cancel.is_cancelled() {
            let _publishing = self.registry.publishing().await?;
            let at = self.registry.db().now().await?;
            let old = {
                let reader = &mut *self.registry.db().reader().await?;
                tombstones::uncleared(reader, at.minus(TOMBSTONE), BATCH).await?
            };
            if old.is_empty() || !self.clear(&old, at).await? {
                break;
            }
        }
        while !self.cancel.is_cancelled() {
            let buried = self.registry.db().write(|tx| {
                Box::pin(async move {
                    let before = tx.now().await?.minus(TOMBSTONE);
                    tombstones::bury(tx, before, BATCH).await
                })
            });
            if buried.await? < BATCH as u64 {
                break;
            }
        }
        Ok(())
    }

    /// False when nothing could be cleared.
    async fn clear(&self, old: &[Blob], at: Timestamp) -> Result<bool> {
        self.registry.check_store().await?;
        if self.registry.db().now().await?.since(at) > MAX_DELAY {
            return Ok(false);
        }
        let answers = self.registry.delete_bytes(old).await;
        let cleared = old.iter().zip(answers);
        let cleared: Vec<BlobId> = cleared
            .filter_map(|(blob, answer)| answer.ok().map(|_| blob.id))
            .collect();
        let is_any = !cleared.is_empty();
        self.registry
            .db()
            .write(move |tx| {
                let cleared = cleared.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    tombstones::set_cleared(tx, &cleared, now).await
                })
            })
            .await?;
        Ok(is_any)
    }
}

impl Registry {
    /// How many bytes each freed, in order; of a bucket, what its row says.
    async fn delete_bytes(&self, claimed: &[Blob]) -> Vec<blob::Result<u64>> {
        let places: Vec<(Digest, String)> = claimed
            .iter()
            .map(|blob| (blob.digest, blob.location.clone()))
            .collect();
        let store = self.store();
        let parts = places
            .chunks(places.len().div_ceil(PARALLEL).max(1))
            .map(|part| store.delete(part));
        let answers = futures_util::future::join_all(parts).await;
        let answers = answers.into_iter().flatten().zip(claimed);
        answers
            .map(|(freed, blob)| freed.map(|freed| freed.unwrap_or(blob.size)))
            .collect()
    }

    /// One batch of due links in one transaction; answers how many ended.
    async fn end_links(&self, due: Vec<Due>) -> Result<u64> {
        self.db()
            .write(move |tx| {
                let due = due.clone();
                Box::pin(async move {
                    let digests: BTreeSet<Digest> = due.iter().map(|link| link.digest).collect();
                    blobs::lock(tx, &digests.into_iter().collect::<Vec<_>>()).await?;
                    let mut by_repository: BTreeMap<&Repository, Vec<BlobId>> = BTreeMap::new();
                    for link in &due {
                        by_repository
                            .entry(&link.repository)
                            .or_default()
                            .push(link.blob);
                    }
                    let now = tx.now().await?;
                    let mut ended = Vec::new();
                    for (repository, contents) in by_repository {
                        ended.extend(links::collect(tx, repository, &contents, now).await?);
                    }
                    if !ended.is_empty() {
                        blobs::condemn_unheld(tx, &ended, now).await?;
                    }
                    Ok(ended.len() as u64)
                })
            })
            .await
    }

    /// Those of the condemned contents that nobody took back, claimed for good; and when that was.
    async fn claim_condemned(&self, condemned: Vec<Blob>) -> Result<(Vec<Blob>, Timestamp)> {
        self.db()
            .write(move |tx| {
                let condemned = condemned.clone();
                Box::pin(async move {
                    let digests: BTreeSet<Digest> =
                        condemned.iter().map(|blob| blob.digest).collect();
                    // Read anew under the lock: a push may have given a row another generation meanwhile.
                    let locked = blobs::lock(tx, &digests.into_iter().collect::<Vec<_>>()).await?;
                    let ids: Vec<BlobId> = locked
                        .iter()
                        .map(|blob| blob.id)
                        .filter(|id| condemned.iter().any(|blob| blob.id == *id))
                        .collect();
                    let now = tx.now().await?;
                    let claimed = blobs::claim_unheld(tx, &ids, now).await?;
                    let mine = locked
                        .into_iter()
                        .filter(|blob| claimed.contains(&blob.id))
                        .collect();
                    Ok::<_, Error>((mine, now))
                })
            })
            .await
    }

    /// Whether all replicas of the database have what was committed so far; waits a moment for those that are about to. One
    /// that became the primary without a claim would serve a content whose bytes are gone.
    async fn replicas_have_all(&self, cancel: &CancellationToken) -> Result<bool> {
        let reader = &mut *self.db().reader().await?;
        let Some(position) = replicas::position(reader).await? else {
            return Ok(true);
        };
        for _ in 0..LOOKS {
            if replicas::have(reader, &position).await? {
                return Ok(true);
            }
            tokio::select! {
                () = cancel.cancelled() => return Ok(false),
                () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            }
        }
        Ok(false)
    }

    pub(crate) async fn set_freed(&self, freed: Vec<BlobId>) -> Result<()> {
        self.db()
            .write(move |tx| {
                let freed = freed.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    blobs::set_freed(tx, &freed, now).await
                })
            })
            .await
    }
}
