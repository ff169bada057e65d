//! Contents that were taken in as they lay in the store, and what holds them until the import that found them is over: a
//! link to a repository of its own, and links of the repositories that held them before, which nobody asks about until then.

use model::{
    Result,
    id::{BlobId, RepositoryId},
    time::Timestamp,
};
use oci::digest::Digest;

use super::{State, new::New};
use crate::{Conn, Tx};

/// The `check_at` of links that the collector leaves alone until [`release`].
pub const UNTIL_FINISHED: Timestamp = Timestamp(i64::MAX);

/// Adds a content whose bytes nobody has read. `None` when a row of it is there.
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
        state: State::Adopted,
        checked_at: Timestamp(0),
    };
    new.insert(tx, now).await
}

/// Takes a condemned content back whose bytes are known to be good: false where nobody has read them, or not since they were suspect.
/// Hold it exclusively.
pub async fn revive_read(tx: &mut Tx, id: BlobId, now: Timestamp) -> Result<bool> {
    let revived = tx
        .execute(
            "UPDATE blobs SET state = 0, state_at = $2 WHERE id = $1 AND state = 1 AND checked_at <> 0",
            &[id.into(), now.into()],
        )
        .await?;
    Ok(revived == 1)
}

/// Lets the collector ask about up to `limit` of those links from now on; answers how many.
pub async fn release(tx: &mut Tx, limit: i64, now: Timestamp) -> Result<u64> {
    tx.execute(
        "UPDATE repository_blobs SET check_at = $2
          WHERE check_at = $1 AND (repository_id, blob_id) IN
             (SELECT repository_id, blob_id FROM repository_blobs
               WHERE check_at = $1
               ORDER BY check_at, repository_id, blob_id
               LIMIT $3)",
        &[UNTIL_FINISHED.into(), now.into(), limit.into()],
    )
    .await
}

/// A content that the import holds.
#[derive(Debug, Clone)]
pub struct Held {
    pub id: BlobId,
    pub size: u64,
    /// Whether something else keeps it: a manifest, the trash, or somebody who pushed or mounted it.
    pub is_needed: bool,
}

/// Those in the import's repository after `after`, in order of numbers.
pub async fn held(
    conn: &mut Conn,
    repository: RepositoryId,
    after: BlobId,
    limit: i64,
) -> Result<Vec<Held>> {
    conn.rows(
        "SELECT l.blob_id, b.size,
                EXISTS (SELECT 1 FROM repository_blobs o
                         WHERE o.blob_id = l.blob_id AND o.repository_id <> l.repository_id
                           AND (o.check_at IS NULL OR o.check_at <> $4))
                OR EXISTS (SELECT 1 FROM trash_blobs t WHERE t.blob_id = l.blob_id)
           FROM repository_blobs l
           JOIN blobs b ON b.id = l.blob_id
          WHERE l.repository_id = $1 AND l.blob_id > $2
          ORDER BY l.blob_id
          LIMIT $3",
        &[
            repository.into(),
            after.into(),
            limit.into(),
            UNTIL_FINISHED.into(),
        ],
        |row| {
            Ok(Held {
                id: BlobId(row.int(0)?),
                size: row.int(1)?.unsigned_abs(),
                is_needed: row.bool(2)?,
            })
        },
    )
    .await
}
