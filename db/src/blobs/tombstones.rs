//! What stays of a content whose bytes went: a row that keeps its place from being used anew, as long as a collector that stood still
//! may come back to it. A push that had begun to write before the claim may have left its bytes there after the delete, so after an hour
//! the place is cleared once more, and an hour after that the row goes.

use model::{Result, id::BlobId, time::Timestamp};

use super::{Blob, json_numbers, read};
use crate::{Conn, Tx, dialect::with_numbers};

/// Those whose bytes went before `before` and whose place was not cleared since.
pub async fn uncleared(conn: &mut Conn, before: Timestamp, limit: i64) -> Result<Vec<Blob>> {
    conn.rows(
        "SELECT id, digest, generation, size, location, state FROM blobs
          WHERE state = 2 AND state <> 0 AND freed_at < $1 AND cleared_at IS NULL
          ORDER BY freed_at, id
          LIMIT $2",
        &[before.into(), limit.into()],
        read,
    )
    .await
}

/// Their places are clear.
pub async fn set_cleared(tx: &mut Tx, ids: &[BlobId], now: Timestamp) -> Result<()> {
    let list = json_numbers(ids.iter().map(|id| id.0));
    let sql = with_numbers!(
        tx,
        "UPDATE blobs SET cleared_at = $2 WHERE +state = 2 AND cleared_at IS NULL AND id IN",
        "$1",
        ""
    );
    tx.execute(sql, &[(&list).into(), now.into()])
        .await
        .map(|_| ())
}

/// Forgets those whose place was cleared before `before`, the newest generation too, but none that a manifest or the trash names all
/// the same; answers how many went.
pub async fn bury(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64> {
    tx.execute(
        "DELETE FROM blobs WHERE id IN
             (SELECT id FROM blobs b
               WHERE state = 2 AND state <> 0 AND freed_at < $1 AND cleared_at < $1
                 AND NOT EXISTS (SELECT 1 FROM artifact_blobs n WHERE n.blob_id = b.id)
                 AND NOT EXISTS (SELECT 1 FROM artifacts a WHERE a.blob_id = b.id)
                 AND NOT EXISTS (SELECT 1 FROM trash_blobs t WHERE t.blob_id = b.id)
               ORDER BY freed_at, id
               LIMIT $2)",
        &[before.into(), limit.into()],
    )
    .await
}

/// Whether the collector has anything to do with contents: some are condemned, claimed, or tombstones of which one of these steps is due
/// `before`.
pub async fn any_to_collect(conn: &mut Conn, before: Timestamp) -> Result<bool> {
    conn.exists(
        "SELECT 1
          WHERE EXISTS (SELECT 1 FROM blobs WHERE state = 1 AND state <> 0)
             OR EXISTS (SELECT 1 FROM blobs WHERE state = 2 AND state <> 0 AND freed_at IS NULL)
             OR EXISTS (SELECT 1 FROM blobs WHERE state = 2 AND state <> 0 AND freed_at < $1 AND cleared_at IS NULL)
             OR EXISTS (SELECT 1 FROM blobs b
                         WHERE state = 2 AND state <> 0 AND freed_at < $1 AND cleared_at < $1
                           AND NOT EXISTS (SELECT 1 FROM artifact_blobs n WHERE n.blob_id = b.id)
                           AND NOT EXISTS (SELECT 1 FROM artifacts a WHERE a.blob_id = b.id)
                           AND NOT EXISTS (SELECT 1 FROM trash_blobs t WHERE t.blob_id = b.id))",
        &[before.into()],
    )
    .await
}
