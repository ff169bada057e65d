//! Scrubbing: stored content is read again and compared with its digest, slowly, and what is damaged stops being served
//! until somebody pushes it again.
//!
//! Nobody is locked out meanwhile, so the verdict may be about bytes that a push has just replaced: see `judge`.

mod judge;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use blob::Verdict;
use db::blobs::{self, Blob};
use model::{Result, id::BlobId, time::Timestamp};
use oci::digest::Digest;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{Registry, store_error};

pub(crate) use judge::{Finding, Suspected};

/// Contents read from the database at a time.
const BATCH: i64 = 100;
/// How long good verdicts may wait for their row: what a crash makes us read twice.
const NOTE_EVERY: Duration = Duration::from_secs(10);
/// Damaged contents that a report names.
const EXAMPLES: usize = 100;

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

impl Registry {
    /// Reads what is due, within the rate that the configuration allows.
    pub async fn scrub(
        &self,
        options: &ScrubOptions,
        cancel: &CancellationToken,
        progress: impl Fn(&ScrubProgress) + Send + Sync,
    ) -> Result<ScrubReport> {
        let start = Instant::now();
        let mut report = ScrubReport::default();
        let now = self.db().now().await?;
        let before = if options.everything {
            now
        } else {
            now.minus(self.config().scrub_interval)
        };
        self.check_store().await?;
        let is_over = || {
            cancel.is_cancelled()
                || options
                    .longest
                    .is_some_and(|longest| start.elapsed() >= longest)
        };
        self.recover(&mut report, cancel, &is_over).await?;
        while !is_over() {
            let due = blobs::unchecked(&mut *self.db().reader().await?, before, BATCH).await?;
            if due.is_empty() {
                report.complete = true;
                break;
            }
            self.scrub_batch(due, &mut report, cancel, &is_over, &progress)
                .await?;
        }
        report.duration_ms = start.elapsed().as_millis() as u64;
        Ok(report)
    }

    /// Every content of the batch that was looked at is checked, lost or gone afterwards, so that the next batch is another.
    async fn scrub_batch(
        &self,
        due: Vec<Blob>,
        report: &mut ScrubReport,
        cancel: &CancellationToken,
        is_over: &(dyn Fn() -> bool + Send + Sync),
        progress: &(dyn Fn(&ScrubProgress) + Send + Sync),
    ) -> Result<()> {
        let (mut good, mut noted) = (Vec::new(), Instant::now());
        for blob in due {
            if is_over() {
                break;
            }
            let verdict = match self
                .store()
                .verify(
                    &blob.digest,
                    &blob.location,
                    self.config().scrub_rate,
                    cancel,
                )
                .await
            {
                Err(blob::Error::Cancelled) => break,
                verdict => verdict.map_err(store_error)?,
            };
            report.done.checked += 1;
            if let Verdict::Good { size } = verdict {
                report.done.bytes += size;
                metrics::counter!("seawall_scrubbed_bytes_total").increment(size);
                good.push(blob.id);
            } else {
                match self.judge(&blob.digest, cancel).await? {
                    Finding::Good => good.push(blob.id),
                    Finding::Gone => {}
                    Finding::Lost(why) => {
                        report.done.lost += 1;
                        if report.examples.len() < EXAMPLES {
                            report.examples.push(Lost {
                                digest: blob.digest,
                                size: blob.size,
                                why,
                            });
                        }
                    }
                    Finding::Cancelled => break,
                }
            }
            progress(&report.done);
            if noted.elapsed() >= NOTE_EVERY {
                self.set_checked(std::mem::take(&mut good)).await?;
                noted = Instant::now();
            }
        }
        self.set_checked(good).await
    }

    /// Looks at what is lost already: it may have come back.
    async fn recover(
        &self,
        report: &mut ScrubReport,
        cancel: &CancellationToken,
        is_over: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<()> {
        let mut after = BlobId(0);
        loop {
            let lost = blobs::lost(&mut *self.db().reader().await?, after, BATCH).await?;
            let Some(last) = lost.last() else {
                return Ok(());
            };
            after = last.id;
            for blob in lost {
                if is_over() {
                    return Ok(());
                }
                let rate = self.config().scrub_rate;
                let verdict = self
                    .store()
                    .verify(&blob.digest, &blob.location, rate, cancel)
                    .await;
                if matches!(verdict, Ok(Verdict::Good { size }) if size == blob.size)
                    && self.unmark(&blob, &blob.location).await?
                {
                    report.done.recovered += 1;
                    tracing::info!(digest = %blob.digest, "lost content is good again");
                }
            }
        }
    }

    async fn set_checked(&self, good: Vec<BlobId>) -> Result<()> {
        if good.is_empty() {
            return Ok(());
        }
        self.db()
            .write(move |tx| {
                let good = good.clone();
                Box::pin(async move {
                    let now: Timestamp = tx.now().await?;
                    blobs::set_checked(tx, &good, now).await
                })
            })
            .await
    }
}
