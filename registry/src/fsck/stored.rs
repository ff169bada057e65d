//! From the store to the database: does a row stand for everything that lies there?

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use blob::Found;
use db::blobs::{self, Blob, State};
use model::{Result, time::Timestamp};
use oci::digest::Digest;

use super::{Check, Kind};
use crate::store_error;

impl Check<'_> {
    pub(super) async fn stored(&mut self) -> Result<()> {
        let mut listing = self.registry.store().list();
        while !self.is_over() {
            let Some(batch) = listing.next().await.map_err(store_error)? else {
                return Ok(());
            };
            for name in batch.strange {
                self.found(Kind::Foreign, false, || name);
            }
            for what in batch.unreadable {
                self.found(Kind::Unreadable, false, || what);
            }
            // After the listing: a row is committed after its bytes have their name.
            let rows = self.rows_of(&batch.found).await?;
            let now = self.registry.db().now().await?;
            for found in batch.found {
                self.report.done.stored += 1;
                self.report.done.stored_bytes += found.size;
                let known = rows
                    .get(&found.digest)
                    .is_some_and(|rows| rows.iter().any(|row| row.location == found.location));
                if !known {
                    self.stray(found, now).await?;
                } else if rows[&found.digest]
                    .iter()
                    .any(|row| row.location == found.location && row.state == State::Deleting)
                {
                    self.found(Kind::Going, false, || {
                        format!(
                            "{} at `{}`: {} bytes",
                            found.digest, found.location, found.size
                        )
                    });
                }
            }
            self.tell();
        }
        Ok(())
    }

    async fn rows_of(&self, found: &[Found]) -> Result<HashMap<Digest, Vec<Blob>>> {
        let digests: Vec<Digest> = found.iter().map(|found| found.digest).collect();
        let mut rows: HashMap<Digest, Vec<Blob>> = HashMap::new();
        for row in blobs::find_all(&mut *self.registry.db().reader().await?, &digests).await? {
            rows.entry(row.digest).or_default().push(row);
        }
        Ok(rows)
    }

    async fn stray(&mut self, found: Found, now: Timestamp) -> Result<()> {
        let what = format!(
            "{} at `{}`: {} bytes that no row knows",
            found.digest, found.location, found.size
        );
        if self.is_importing
            || !is_older(found.modified, self.registry.config().uploads_expire, now)
        {
            self.found(Kind::Young, false, || what);
            return Ok(());
        }
        let repaired = self.options.repair && self.remove_stray(&found).await?;
        self.found(Kind::Stray, repaired, || what);
        Ok(())
    }

    /// A row takes the bytes first, so that a push which has just put them there stores elsewhere.
    async fn remove_stray(&self, found: &Found) -> Result<bool> {
        let (digest, location, size) = (found.digest, found.location.clone(), found.size);
        let claimed = self
            .registry
            .db()
            .write(move |tx| {
                let location = location.clone();
                Box::pin(async move {
                    let now = tx.now().await?;
                    blobs::claim_stray(tx, &digest, &location, size, now).await
                })
            })
            .await?;
        let Some(claimed) = claimed else {
            return Ok(false);
        };
        let answers = self
            .registry
            .store()
            .delete(&[(claimed.digest, claimed.location.clone())])
            .await;
        for answer in answers {
            answer.map_err(store_error)?;
        }
        self.registry.set_freed(vec![claimed.id]).await?;
        Ok(true)
    }
}

/// By the clock of whoever keeps the file system, which is ours or near it.
pub(super) fn is_older(modified: SystemTime, age: Duration, now: Timestamp) -> bool {
    let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(modified.as_micros() as i64).plus(age) < now
}
