//! Where the space went: every byte that the store holds, by what keeps it there. It is the store that is measured, and the database
//! that is asked why; so that the parts add up to what is really stored, whatever anybody believes.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use blob::Found;
use db::{
    blobs::{
        self, Blob, State,
        holders::{self, Holders},
    },
    facts,
};
use model::{Result, error::internal, id::BlobId, time::Timestamp};
use oci::digest::Digest;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{Registry, store_error};

/// Bytes, and in how many files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub bytes: u64,
    pub files: u64,
}

impl Part {
    fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.files += 1;
    }
}

/// What the store holds. All but `stored` and `measured_at` are parts that do not overlap, and `stored` is their sum.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Used by one project alone.
    pub projects: Part,
    /// Used by several projects; each counts it in its own quota.
    pub shared: Part,
    /// Kept by the trash alone.
    pub trash: Part,
    /// Uploads that are not finished.
    pub uploads: Part,
    /// Kept by nothing: it goes with one of the next collections, once `gc.grace` or `uploads.expire` are over.
    pub waiting: Part,
    /// No row knows it: it is new, or `seawall fsck` has more to say.
    pub unknown: Part,
    pub stored: Part,
    /// RFC 3339; none while nothing was measured yet.
    pub measured_at: Option<String>,
}

impl Registry {
    /// Measures the store; none when it was cancelled. What was found is kept for whoever asks.
    pub async fn measure_space(
        &self,
        cancel: &CancellationToken,
        progress: impl Fn(&Space) + Send + Sync,
    ) -> Result<Option<Space>> {
        let mut space = Space::default();
        let mut listing = self.store().list();
        while let Some(batch) = listing.next().await.map_err(store_error)? {
            if cancel.is_cancelled() {
                return Ok(None);
            }
            self.measure(&batch.found, &mut space).await?;
            space.sum();
            progress(&space);
        }
        for upload in self.store().uploads().await.map_err(store_error)? {
            space.uploads.add(upload.size);
        }
        space.sum();
        let now: Timestamp = self.db().now().await?;
        space.measured_at = Some(now.rfc3339());
        let text = serde_json::to_string(&space).map_err(internal("writing what was measured"))?;
        self.db()
            .write(move |tx| {
                let text = text.clone();
                Box::pin(async move { facts::set(tx, facts::SPACE, &text).await })
            })
            .await?;
        Ok(Some(space))
    }

    /// What was measured last.
    pub async fn space(&self) -> Result<Option<Space>> {
        let text = facts::find(&mut *self.db().reader().await?, facts::SPACE).await?;
        text.map(|text| serde_json::from_str(&text).map_err(internal("reading what was measured")))
            .transpose()
    }

    async fn measure(&self, found: &[Found], space: &mut Space) -> Result<()> {
        let digests: Vec<Digest> = found.iter().map(|one| one.digest).collect();
        let mut reader = self.db().reader().await?;
        let rows: HashMap<(Digest, String), Blob> = blobs::find_all(&mut reader, &digests)
            .await?
            .into_iter()
            .map(|row| ((row.digest, row.location.clone()), row))
            .collect();
        let ids: Vec<BlobId> = rows.values().map(|row| row.id).collect();
        let holders: HashMap<BlobId, Holders> = holders::of_all(&mut reader, &ids)
            .await?
            .into_iter()
            .collect();
        drop(reader);
        for one in found {
            let part = match rows.get(&(one.digest, one.location.clone())) {
                None => &mut space.unknown,
                Some(row) if matches!(row.state, State::Deleting | State::Condemned) => {
                    &mut space.waiting
                }
                Some(row) => match holders.get(&row.id) {
                    Some(Holders { projects: 1, .. }) => &mut space.projects,
                    Some(Holders { projects: 2.., .. }) => &mut space.shared,
                    Some(Holders { in_trash: true, .. }) => &mut space.trash,
                    _ => &mut space.waiting,
                },
            };
            part.add(one.size);
        }
        Ok(())
    }
}

impl Space {
    fn sum(&mut self) {
        let parts = [
            self.projects,
            self.shared,
            self.trash,
            self.uploads,
            self.waiting,
            self.unknown,
        ];
        self.stored = Part {
            bytes: parts.iter().map(|part| part.bytes).sum(),
            files: parts.iter().map(|part| part.files).sum(),
        };
    }
}
