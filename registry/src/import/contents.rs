//! A row for every content of the tree, held by the import's repository. Nothing is read: that costs a look at each name.

use std::collections::HashMap;

use blob::Found;
use db::{
    blobs::{self, Blob, State, adopted},
    links,
};
use model::Result;
use oci::digest::Digest;

use super::{Left, Run, store::expect_open};
use crate::store_error;

/// Contents in one transaction.
const BATCH: usize = 250;

impl Run<'_> {
    pub(super) async fn contents(&mut self) -> Result<()> {
        let mut listing = self.registry.store().list();
        while !self.is_over() {
            let Some(batch) = listing.next().await.map_err(store_error)? else {
                return Ok(());
            };
            self.report.leave_names(batch.unreadable, batch.strange);
            for found in batch.found.chunks(BATCH) {
                if self.is_over() {
                    break;
                }
                self.take_in(found).await?;
                self.tell();
            }
        }
        Ok(())
    }

    async fn take_in(&mut self, batch: &[Found]) -> Result<()> {
        let digests: Vec<Digest> = batch.iter().map(|found| found.digest).collect();
        let mut rows: HashMap<Digest, Vec<Blob>> = HashMap::new();
        let known = blobs::find_all(&mut *self.registry.db().reader().await?, &digests).await?;
        for row in known {
            rows.entry(row.digest).or_default().push(row);
        }
        let mut new = Vec::with_capacity(batch.len());
        for found in batch {
            self.report.done.contents += 1;
            self.report.done.bytes += found.size;
            let rows = rows.get(&found.digest).map_or(&[][..], Vec::as_slice);
            let here = rows.iter().find(|row| row.location == found.location);
            match here.map(|row| row.state) {
                // Nothing names it any more, and the import is not finished: it stays.
                Some(State::Condemned) => new.push(found.clone()),
                Some(_) => {}
                None if rows.iter().any(|row| row.state != State::Deleting) => {
                    let what = format!("{} at `{}`", found.digest, found.location);
                    self.report.leave(Left::Twin, what);
                }
                None => {
                    self.came_by(found.modified);
                    new.push(found.clone());
                }
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let (adopted, bytes) = self.insert(new).await?;
        self.report.done.adopted += adopted;
        self.report.done.adopted_bytes += bytes;
        Ok(())
    }

    /// How many of them were not known, and their bytes.
    async fn insert(&self, new: Vec<Found>) -> Result<(u64, u64)> {
        let holder = self.holder.clone();
        self.registry
            .db()
            .write(move |tx| {
                let (holder, new) = (holder.clone(), new.clone());
                Box::pin(async move {
                    expect_open(tx).await?;
                    let now = tx.now().await?;
                    let (mut adopted, mut bytes) = (0, 0);
                    let digests: Vec<Digest> = new.iter().map(|found| found.digest).collect();
                    let known = blobs::lock(tx, &digests).await?;
                    for Found {
                        digest,
                        location,
                        size,
                        ..
                    } in &new
                    {
                        let known = known.iter().find(|row| row.digest == *digest);
                        let id = if let Some(row) = known {
                            if row.state == State::Condemned {
                                blobs::revive(tx, row.id, now).await?;
                            }
                            Some(row.id)
                        } else {
                            let generation = blobs::generation_of(location);
                            let id = adopted::insert(tx, digest, generation, *size, location, now);
                            let id = id.await?;
                            adopted += u64::from(id.is_some());
                            bytes += id.map_or(0, |_| *size);
                            id
                        };
                        // None: another file of it in this very batch was first.
                        if let Some(id) = id {
                            let check_at = Some(adopted::UNTIL_FINISHED);
                            links::add(tx, &holder, id, check_at, now).await?;
                        }
                    }
                    Ok((adopted, bytes))
                })
            })
            .await
    }
}
