//! What to do about bytes that look bad.
//!
//! A push heals a content by putting good bytes over the bad ones, at any moment, so "bad" may be out of date when it is
//! known. Therefore: make the row suspect, which a push that writes the bytes undoes; then read; and mark the row only if
//! that suspicion still stands. A death in between leaves a suspect, which is served like any other and which the next
//! scrub judges first.
//! Damaged bytes are only moved away from a location that no push uses any more.

use std::{collections::HashSet, sync::atomic::AtomicI64};

use blob::{Damage, Verdict};
use db::blobs::{self, Blob, State, Suspicion};
use model::Result;
use oci::digest::Digest;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{Registry, store_error};

/// A row that changes between two looks this often is being pushed all the time, so it is alive.
const ATTEMPTS: usize = 5;

/// What this process does about bad content.
#[derive(Default)]
pub(crate) struct Judging {
    /// What it looks at right now because a pull found it bad.
    pub asked: Mutex<HashSet<Digest>>,
    /// The last lost content that a scrub looked at; a hint.
    pub recovered: AtomicI64,
}

/// What is so about a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    Good,
    /// Nobody holds it any more, or it was known to be lost already.
    Gone,
    /// Not served any more from now on.
    Lost(String),
    Cancelled,
}

impl Registry {
    /// Says that a pull met missing or damaged bytes: when they are, the content is not served any more until it is pushed
    /// again. While somebody else asks the same about the same content, this returns at once.
    pub async fn suspect(&self, digest: &Digest) -> Result<()> {
        if !self.0.judging.asked.lock().insert(*digest) {
            return Ok(());
        }
        let _asked = Asked {
            registry: self,
            digest,
        };
        self.judge(digest, None, &CancellationToken::new())
            .await
            .map(|_| ())
    }

    /// Reads the bytes where the database says they are now, at most `rate` a second, and marks the content lost when they
    /// are bad. When they are good, the row says their length.
    pub(crate) async fn judge(
        &self,
        digest: &Digest,
        rate: Option<u64>,
        cancel: &CancellationToken,
    ) -> Result<Finding> {
        // A mount point whose share is away looks like a store that lost everything.
        self.check_store().await?;
        for _ in 0..ATTEMPTS {
            let newest = blobs::newest(&mut *self.db().reader().await?, digest).await?;
            // A condemned one is on its way out: marking it would keep it.
            let judged =
                |blob: &Blob| matches!(blob.state, State::Live | State::Suspect | State::Adopted);
            let Some(blob) = newest.filter(judged) else {
                return Ok(Finding::Gone);
            };
            let Some(suspicion) = self.begin_judging(&blob).await? else {
                continue;
            };
            let verdict = match self
                .store()
                .verify(digest, &blob.location, rate, cancel)
                .await
            {
                Err(blob::Error::Cancelled) => return Ok(Finding::Cancelled),
                verdict => verdict.map_err(store_error)?,
            };
            if let Verdict::Good { size } = verdict {
                self.acquit(&blob, size).await?;
                return Ok(Finding::Good);
            }
            self.check_store().await?;
            if self.mark(&blob, suspicion, &verdict).await? {
                return Ok(Finding::Lost(self.set_aside(&blob, &verdict).await));
            }
        }
        Ok(Finding::Good)
    }

    /// Makes the row suspect; `None` when it is not any more as it was read.
    pub(super) async fn begin_judging(&self, blob: &Blob) -> Result<Option<Suspicion>> {
        let blob = blob.clone();
        self.db()
            .write(move |tx| {
                let blob = blob.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    blobs::set_suspect(tx, &blob, now).await
                })
            })
            .await
    }

    async fn acquit(&self, blob: &Blob, size: u64) -> Result<()> {
        let id = blob.id;
        self.db()
            .write(move |tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    blobs::clear_suspect(tx, id, size, now).await
                })
            })
            .await
    }

    /// Marks a suspect; false when a push was faster.
    pub(super) async fn mark(
        &self,
        blob: &Blob,
        suspicion: Suspicion,
        verdict: &Verdict,
    ) -> Result<bool> {
        let (blob, may_return) = (blob.clone(), may_return(verdict));
        self.db()
            .write(move |tx| {
                let blob = blob.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    if may_return {
                        return blobs::mark_lost(tx, blob.id, suspicion, now).await;
                    }
                    let marked = blobs::mark_damaged(tx, &blob, suspicion, now).await?;
                    Ok(marked.is_some())
                })
            })
            .await
    }

    /// Tells of a content that was marked, and moves damaged bytes away; answers what was wrong.
    async fn set_aside(&self, blob: &Blob, verdict: &Verdict) -> String {
        if !may_return(verdict) {
            match self.store().quarantine(&blob.digest, &blob.location).await {
                Ok(()) | Err(blob::Error::NotFound) => {}
                // The bytes are in nobody's way where they are.
                Err(error) => {
                    tracing::warn!(digest = %blob.digest, %error, "damaged content could not be set aside");
                }
            }
        }
        let why = verdict.to_string();
        metrics::counter!("seawall_lost_contents_total").increment(1);
        tracing::error!(digest = %blob.digest, location = blob.location, why, "stored content is lost: push it again to heal it");
        why
    }
}

/// What is missing or unreadable may come back where it was, when a disk or a mount recovers.
fn may_return(verdict: &Verdict) -> bool {
    !matches!(verdict, Verdict::Damaged(Damage::Digest { .. }))
}

impl Registry {
    /// Serves a lost content again whose bytes were found good. False when somebody else was faster.
    pub(crate) async fn unmark(&self, lost: &Blob) -> Result<bool> {
        let lost = lost.clone();
        self.db()
            .write(move |tx| {
                let lost = lost.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    blobs::unmark_lost(tx, &lost, now).await
                })
            })
            .await
    }
}

/// Ends the question also when whoever asked goes away.
struct Asked<'a> {
    registry: &'a Registry,
    digest: &'a Digest,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.registry.0.judging.asked.lock().remove(self.digest);
    }
}
