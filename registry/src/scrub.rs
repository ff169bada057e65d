//! Scrubbing: stored content is read again and compared with its digest, slowly, and what is damaged stops being served
//! until somebody pushes it again.
//!
//! Nobody is locked out meanwhile, so the verdict may be about bytes that a push has just replaced: see `judge`.

mod judge;
#[cfg(test)]
mod tests;

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use blob::Verdict;
use db::blobs::{self, Blob, State};
use model::{Result, id::BlobId, time::Timestamp};
use oci::digest::Digest;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{Registry, store_error};

pub(crate) use judge::{Finding, Judging};

/// Contents read from the database at a time.
const BATCH: i64 = 100;
/// How long good verdicts may wait for their row: what a crash makes us read twice.
const NOTE_EVERY: Duration = Duration::from_secs(10);
/// Damaged contents that a report names.
const EXAMPLES: usize = 100;
/// What part of its time a run gives to contents that are lost already: what a dying disk gives back slowly or not at all
/// must not keep the rest from being read.
const FOR_LOST: u32 = 10;

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct ScrubOptions {
    /// All contents, also those that were read lately.
    pub everything: bool,
    /// Stops after this time; the next run goes on from there.
    pub longest: Option<Duration>,
}

/// What a run has done so far.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ScrubProgress {
    pub checked: u64,
    pub bytes: u64,
    /// Contents that are not served any more, until somebody pushes them again.
    pub lost: u64,
    /// Contents that were lost and whose bytes are good again, as when a disk recovered: served again.
    pub recovered: u64,
}

/// What a run has done.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ScrubReport {
    #[serde(flatten)]
    pub done: ScrubProgress,
    /// False when it ended before everything due was read.
    pub complete: bool,
    pub duration_ms: u64,
    /// The first contents that were found missing or damaged.
    pub examples: Vec<Lost>,
}

/// A content whose bytes are missing or damaged.
#[derive(Debug, Clone, Serialize)]
pub struct Lost {
    pub digest: Digest,
    pub size: u64,
    pub why: String,
}

/// One run.
struct Run<'a> {
    registry: &'a Registry,
    cancel: &'a CancellationToken,
    progress: &'a (dyn Fn(&ScrubProgress) + Send + Sync),
    /// Due is what was checked last before this.
    before: Timestamp,
    report: ScrubReport,
}

impl Registry {
    /// Reads what is due, within the rate that the configuration allows.
    pub async fn scrub(
        &self,
        options: &ScrubOptions,
        cancel: &CancellationToken,
        progress: impl Fn(&ScrubProgress) + Send + Sync,
    ) -> Result<ScrubReport> {
        let start = Instant::now();
        let now = self.db().now().await?;
        let before = if options.everything {
            now
        } else {
            now.minus(self.config().scrub_interval)
        };
        self.check_store().await?;
        let mut run = Run {
            registry: self,
            cancel,
            progress: &progress,
            before,
            report: ScrubReport::default(),
        };
        let longest = options.longest;
        run.recover(longest.map(|longest| start + longest / FOR_LOST))
            .await?;
        let until = longest.map(|longest| start + longest);
        run.read_adopted(until).await?;
        run.read_due(until).await?;
        run.report.duration_ms = start.elapsed().as_millis() as u64;
        Ok(run.report)
    }
}

impl Run<'_> {
    fn is_over(&self, until: Option<Instant>) -> bool {
        self.cancel.is_cancelled() || until.is_some_and(|until| Instant::now() >= until)
    }

    /// What nobody has read yet comes before everything else.
    async fn read_adopted(&mut self, until: Option<Instant>) -> Result<()> {
        let mut after = BlobId(0);
        while !self.is_over(until) {
            let adopted = {
                let reader = &mut *self.registry.db().reader().await?;
                blobs::in_state(reader, State::Adopted, after, BATCH).await?
            };
            let Some(last) = adopted.last() else { break };
            after = last.id;
            self.read_batch(adopted, until).await?;
        }
        Ok(())
    }

    async fn read_due(&mut self, until: Option<Instant>) -> Result<()> {
        while !self.is_over(until) {
            let due =
                blobs::unchecked(&mut *self.registry.db().reader().await?, self.before, BATCH)
                    .await?;
            if due.is_empty() {
                self.report.complete = true;
                return Ok(());
            }
            self.read_batch(due, until).await?;
        }
        Ok(())
    }

    /// Every content of the batch that was looked at is noted or lost afterwards, so that the next batch is another.
    async fn read_batch(&mut self, due: Vec<Blob>, until: Option<Instant>) -> Result<()> {
        let (mut seen, mut noted) = (Vec::new(), Instant::now());
        for blob in due {
            if self.is_over(until) {
                break;
            }
            match self.read(&blob).await? {
                // Gone is also a row that another generation has overtaken: it stays due unless it is noted.
                Finding::Good | Finding::Gone => seen.push(blob.id),
                Finding::Lost(why) => {
                    self.report.done.lost += 1;
                    if self.report.examples.len() < EXAMPLES {
                        self.report.examples.push(Lost {
                            digest: blob.digest,
                            size: blob.size,
                            why,
                        });
                    }
                }
                Finding::Cancelled => break,
            }
            (self.progress)(&self.report.done);
            if noted.elapsed() >= NOTE_EVERY {
                self.set_checked(std::mem::take(&mut seen)).await?;
                noted = Instant::now();
            }
        }
        self.set_checked(seen).await
    }

    /// Reads one content, and judges it when something is wrong.
    async fn read(&mut self, blob: &Blob) -> Result<Finding> {
        let rate = self.registry.config().scrub_rate;
        let verdict = match self
            .registry
            .store()
            .verify(&blob.digest, &blob.location, rate, self.cancel)
            .await
        {
            Err(blob::Error::Cancelled) => return Ok(Finding::Cancelled),
            verdict => verdict.map_err(store_error)?,
        };
        self.report.done.checked += 1;
        if let Verdict::Good { size } = verdict {
            self.report.done.bytes += size;
            metrics::counter!("seawall_scrubbed_bytes_total").increment(size);
            if size == blob.size {
                return Ok(Finding::Good);
            }
        }
        self.registry.judge(&blob.digest, rate, self.cancel).await
    }

    /// Looks at what is lost already: it may have come back. Goes on where the last run of this process stopped.
    async fn recover(&mut self, until: Option<Instant>) -> Result<()> {
        let (registry, rate) = (self.registry, self.registry.config().scrub_rate);
        let position = &registry.0.judging.recovered;
        let mut after = match until {
            Some(_) => BlobId(position.load(Ordering::Relaxed)),
            None => BlobId(0),
        };
        loop {
            let lost = blobs::in_state(
                &mut *registry.db().reader().await?,
                State::Lost,
                after,
                BATCH,
            )
            .await?;
            if lost.is_empty() {
                position.store(0, Ordering::Relaxed);
                return Ok(());
            }
            for blob in lost {
                if self.is_over(until) {
                    return Ok(());
                }
                let verdict = registry
                    .store()
                    .verify(&blob.digest, &blob.location, rate, self.cancel)
                    .await;
                if matches!(verdict, Ok(Verdict::Good { size }) if size == blob.size)
                    && registry.unmark(&blob).await?
                {
                    self.report.done.recovered += 1;
                    tracing::info!(digest = %blob.digest, "lost content is good again");
                }
                after = blob.id;
                position.store(after.0, Ordering::Relaxed);
            }
        }
    }

    /// Never before what counts as due: a clock that was set back would have the same read again and again.
    async fn set_checked(&self, seen: Vec<BlobId>) -> Result<()> {
        if seen.is_empty() {
            return Ok(());
        }
        let before = self.before;
        self.registry
            .db()
            .write(move |tx| {
                let seen = seen.clone();
                Box::pin(async move {
                    let at = tx.now().await?.max(before);
                    blobs::set_checked(tx, &seen, at).await
                })
            })
            .await
    }
}
