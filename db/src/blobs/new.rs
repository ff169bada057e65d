//! A content's row, when it begins.

use model::{Result, id::BlobId, time::Timestamp};
use oci::digest::Digest;

use super::State;
use crate::Tx;

/// Adds a generation of a content whose bytes stand in the store. `None` when another transaction added it meanwhile.
pub async fn insert(
    tx: &mut Tx,
    digest: &Digest,
    generation: i64,
    size: u64,
    location: &str,
    now: Timestamp,
) -> Result<Option<BlobId>> {
    let new = New {
        digest,
        generation,
        size,
        location,
        state: State::Live,
        checked_at: now,
    };
    new.insert(tx, now).await
}

/// A row to be.
pub(super) struct New<'a> {
    pub digest: &'a Digest,
    pub generation: i64,
    pub size: u64,
    pub location: &'a str,
    pub state: State,
    pub checked_at: Timestamp,
}

impl New<'_> {
    pub async fn insert(&self, tx: &mut Tx, now: Timestamp) -> Result<Option<BlobId>> {
        tx.row(
            "INSERT INTO blobs (digest, generation, size, location, state, state_at, checked_at, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $6)
             ON CONFLICT DO NOTHING
             RETURNING id",
            &[
                (&self.digest.to_string()).into(),
                self.generation.into(),
                (self.size as i64).into(),
                self.location.into(),
                self.state.number().into(),
                now.into(),
                self.checked_at.into(),
            ],
            |row| Ok(BlobId(row.int(0)?)),
        )
        .await
    }
}
