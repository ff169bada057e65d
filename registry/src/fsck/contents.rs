//! From the database to the store: does every content have its bytes?

use blob::{Damage, Verdict};
use db::blobs::{self, Blob, State};
use model::{Result, id::BlobId};
use tokio_util::sync::CancellationToken;

use super::{BATCH, Check, Kind};
use crate::{scrub::Finding, store_error};

impl Check<'_> {
    pub(super) async fn contents(&mut self) -> Result<()> {
        let mut after = BlobId(0);
        while !self.is_over() {
            let batch = blobs::list(&mut *self.registry.db().reader().await?, after, BATCH).await?;
            let Some(last) = batch.last().map(|blob| blob.id) else {
                return Ok(());
            };
            for blob in &batch {
                if self.is_over() {
                    return Ok(());
                }
                self.content(blob).await?;
            }
            self.unheld(after, last).await?;
            after = last;
            self.tell();
        }
        Ok(())
    }

    async fn content(&mut self, blob: &Blob) -> Result<()> {
        if blob.state == State::Deleting {
            return Ok(());
        }
        self.report.done.contents += 1;
        self.report.done.bytes += blob.size;
        let Some((kind, what)) = self.look(blob).await? else {
            return self.heal(blob).await;
        };
        if blob.state == State::Lost {
            self.found(Kind::Lost, false, || {
                format!("{}: waits to be pushed again", blob.digest)
            });
            return Ok(());
        }
        // Between the row and the look it may have been collected, or healed under another location.
        let now = blobs::newest(&mut *self.registry.db().reader().await?, &blob.digest).await?;
        let served = |now: &Blob| matches!(now.state, State::Live | State::Adopted);
        let Some(now) = now.filter(|now| now.id == blob.id && served(now)) else {
            return Ok(());
        };
        if (now.location != blob.location || now.size != blob.size)
            && self.look(&now).await?.is_none()
        {
            return Ok(());
        }
        let repaired = self.options.repair && self.repair(&now).await?;
        self.found(kind, repaired, || format!("{}: {what}", blob.digest));
        Ok(())
    }

    /// What is wrong with the bytes, if anything.
    async fn look(&self, blob: &Blob) -> Result<Option<(Kind, String)>> {
        let store = self.registry.store();
        if !self.options.deep {
            return match store.look(&blob.digest, &blob.location, blob.size).await {
                Ok(()) => Ok(None),
                Err(blob::Error::NotFound) => {
                    Ok(Some((Kind::Missing, Verdict::Missing.to_string())))
                }
                Err(blob::Error::Damaged(why)) => Ok(Some((self.kind_of_damage(blob).await, why))),
                Err(error) => Err(store_error(error)),
            };
        }
        let verdict = match store
            .verify(&blob.digest, &blob.location, None, self.cancel)
            .await
        {
            Err(blob::Error::Cancelled) => return Ok(None),
            verdict => verdict.map_err(store_error)?,
        };
        Ok(match verdict {
            Verdict::Good { size } if size == blob.size => None,
            Verdict::Good { size } => Some((
                Kind::WrongLength,
                format!("has {size} good bytes, its row says {}", blob.size),
            )),
            Verdict::Missing => Some((Kind::Missing, verdict.to_string())),
            Verdict::Damaged(damage) => Some((Kind::Damaged, damage.to_string())),
        })
    }

    /// Of a file that is not as it should be, without reading it: has it another length, or does the disk not give it?
    async fn kind_of_damage(&self, blob: &Blob) -> Kind {
        let at_once = CancellationToken::new();
        at_once.cancel();
        let store = self.registry.store();
        match store
            .verify(&blob.digest, &blob.location, None, &at_once)
            .await
        {
            Ok(Verdict::Damaged(Damage::Unreadable(_))) => Kind::Damaged,
            _ => Kind::WrongLength,
        }
    }

    /// Good bytes of a content that was marked lost are served again, once they were read.
    async fn heal(&mut self, blob: &Blob) -> Result<()> {
        if blob.state != State::Lost {
            return Ok(());
        }
        let verdict = self
            .registry
            .store()
            .verify(&blob.digest, &blob.location, None, self.cancel)
            .await;
        let is_good = matches!(verdict, Ok(Verdict::Good { size }) if size == blob.size);
        let repaired = is_good && self.options.repair && self.registry.unmark(blob).await?;
        let what = if is_good {
            "its bytes are good again"
        } else {
            "waits to be pushed again"
        };
        self.found(Kind::Lost, repaired, || format!("{}: {what}", blob.digest));
        Ok(())
    }

    /// Not served any more, until it is pushed again; or good, and its row says the right length now.
    async fn repair(&self, blob: &Blob) -> Result<bool> {
        let judged = self.registry.judge(&blob.digest, None, self.cancel).await?;
        Ok(matches!(judged, Finding::Lost(_) | Finding::Good))
    }

    /// Contents that no repository holds: the collector never meets them, since it follows links that end.
    async fn unheld(&mut self, after: BlobId, last: BlobId) -> Result<()> {
        let unheld = blobs::unheld(&mut *self.registry.db().reader().await?, after, last).await?;
        for blob in unheld {
            let mut repaired = false;
            if self.options.repair {
                let (id, digest) = (blob.id, blob.digest);
                repaired = self
                    .registry
                    .db()
                    .write(move |tx| {
                        Box::pin(async move {
                            blobs::lock(tx, &[digest]).await?;
                            let now = tx.now().await?;
                            blobs::condemn_if_unheld(tx, id, now).await
                        })
                    })
                    .await?;
            }
            self.found(Kind::Unheld, repaired, || {
                format!(
                    "{}: no repository holds its {} bytes",
                    blob.digest, blob.size
                )
            });
        }
        Ok(())
    }
}
