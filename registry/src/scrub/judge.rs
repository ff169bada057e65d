//! What to do about bytes that look bad.
//!
//! A push heals a content by putting good bytes over the bad ones, at any moment, so "bad" may be out of date when it is
//! known. Therefore: read once more; mark the row, if it is still as it was; read again, and take the mark back when a
//! push was faster. Damaged bytes are only moved away from a location that no push uses any more.

use std::collections::HashSet;

use blob::{Damage, Verdict};
use db::blobs::{self, Blob, State};
use model::Result;
use oci::digest::Digest;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{Registry, store_error};

/// A row that changes between two looks this often is being pushed all the time, so it is alive.
const ATTEMPTS: usize = 5;

/// Contents that this process looks at right now because a pull found them bad.
pub(crate) type Suspected = Mutex<HashSet<Digest>>;

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
        if !self.0.suspected.lock().insert(*digest) {
            return Ok(());
        }
        let _asked = Asked {
            registry: self,
            digest,
        };
        self.judge(digest, &CancellationToken::new())
            .await
            .map(|_| ())
    }

    /// Reads the bytes where the database says they are now, and marks the content lost when they are bad.
    pub(crate) async fn judge(
        &self,
        digest: &Digest,
        cancel: &CancellationToken,
    ) -> Result<Finding> {
        for _ in 0..ATTEMPTS {
            let newest = blobs::newest(&mut *self.db().reader().await?, digest).await?;
            // A condemned one is on its way out: marking it would keep it.
            let Some(blob) = newest.filter(|blob| blob.state == State::Live) else {
                return Ok(Finding::Gone);
            };
            let verdict = match self
                .store()
                .verify(digest, &blob.location, None, cancel)
                .await
            {
                Err(blob::Error::Cancelled) => return Ok(Finding::Cancelled),
                verdict => verdict.map_err(store_error)?,
            };
            let Some(why) = complaint(&verdict) else {
                return Ok(Finding::Good);
            };
            // A mount point whose share is away looks like a store that lost everything.
            self.check_store().await?;
            // What is missing or unreadable may come back where it was, when a disk or a mount recovers.
            let may_return = !matches!(verdict, Verdict::Damaged(Damage::Digest { .. }));
            let Some(marked) = self.mark(blob.clone(), may_return).await? else {
                continue;
            };
            return self.settle_mark(&blob, &marked, may_return, why).await;
        }
        Ok(Finding::Good)
    }

    /// The row, marked; `None` when it was not any more as it was read.
    pub(super) async fn mark(&self, blob: Blob, may_return: bool) -> Result<Option<Blob>> {
        self.db()
            .write(move |tx| {
                let blob = blob.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    let locked = blobs::lock_newest(tx, &blob.digest).await?;
                    let same = |now: &Blob| {
                        now.id == blob.id
                            && now.location == blob.location
                            && now.state == State::Live
                    };
                    let Some(locked) = locked.filter(same) else {
                        return Ok(None);
                    };
                    if may_return {
                        let marked = blobs::mark_lost(tx, locked.id, now).await?;
                        return Ok(marked.then_some(Blob {
                            state: State::Lost,
                            ..locked
                        }));
                    }
                    blobs::mark_damaged(tx, &locked, now).await
                })
            })
            .await
    }

    /// The last look: a push may have put good bytes there after our last reading and before our mark.
    pub(super) async fn settle_mark(
        &self,
        blob: &Blob,
        marked: &Blob,
        may_return: bool,
        why: String,
    ) -> Result<Finding> {
        let never = CancellationToken::new();
        let verdict = self
            .store()
            .verify(&blob.digest, &blob.location, None, &never)
            .await
            .map_err(store_error)?;
        if complaint(&verdict).is_none() {
            self.unmark(marked, &blob.location).await?;
            return Ok(Finding::Good);
        }
        if !may_return {
            match self.store().quarantine(&blob.digest, &blob.location).await {
                Ok(()) | Err(blob::Error::NotFound) => {}
                // The bytes are in nobody's way where they are.
                Err(error) => {
                    tracing::warn!(digest = %blob.digest, %error, "damaged content could not be set aside");
                }
            }
        }
        metrics::counter!("seawall_lost_contents_total").increment(1);
        tracing::error!(digest = %blob.digest, location = blob.location, why, "stored content is lost: push it again to heal it");
        Ok(Finding::Lost(why))
    }
}

impl Registry {
    /// Serves a lost content again whose bytes at `location` were found good. False when a push was faster.
    pub(crate) async fn unmark(&self, lost: &Blob, location: &str) -> Result<bool> {
        let (lost, location) = (lost.clone(), location.to_owned());
        self.db()
            .write(move |tx| {
                let (lost, location) = (lost.clone(), location.clone());
                Box::pin(async move {
                    let now = tx.now().await?;
                    blobs::lock_newest(tx, &lost.digest).await?;
                    blobs::unmark_lost(tx, &lost, &location, now).await
                })
            })
            .await
    }
}

/// What is bad about it, if anything.
fn complaint(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Good { .. } => None,
        Verdict::Missing => Some("its bytes are missing".to_owned()),
        Verdict::Damaged(Damage::Digest { size, actual }) => {
            Some(format!("its {size} bytes have digest `{actual}`"))
        }
        Verdict::Damaged(Damage::Unreadable(error)) => {
            Some(format!("its bytes cannot be read: {error}"))
        }
    }
}

/// Ends the question also when whoever asked goes away.
struct Asked<'a> {
    registry: &'a Registry,
    digest: &'a Digest,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.registry.0.suspected.lock().remove(self.digest);
    }
}
