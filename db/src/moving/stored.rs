//! The contents that a move of the store has to carry.

use model::{Result, id::BlobId};

use crate::{
    Conn,
    blobs::{self, Blob},
    dialect::with_numbers,
};

/// Contents whose bytes should be there, in order of numbers, after `after`.
pub async fn contents(conn: &mut Conn, after: BlobId, limit: i64) -> Result<Vec<Blob>> {
    conn.rows(
        "SELECT id, digest, generation, size, location, state FROM blobs
          WHERE id > $1 AND +state <> 2 AND +state <> 3
          ORDER BY id
          LIMIT $2",
        &[after.into(), limit.into()],
        blobs::read,
    )
    .await
}

/// Those among these.
pub async fn contents_of(conn: &mut Conn, ids: &[BlobId]) -> Result<Vec<Blob>> {
    let mut found = Vec::new();
    for ids in ids.chunks(500) {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let list = serde_json::Value::from(ids).to_string();
        let sql = with_numbers!(
            conn,
            "SELECT id, digest, generation, size, location, state FROM blobs
              WHERE +state <> 2 AND +state <> 3 AND id IN",
            "$1",
            "ORDER BY id"
        );
        found.extend(conn.rows(sql, &[(&list).into()], blobs::read).await?);
    }
    Ok(found)
}

/// How many contents there are, and their bytes.
pub async fn totals(conn: &mut Conn) -> Result<(u64, u64)> {
    let sums = conn.row(
        "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blobs WHERE +state <> 2 AND +state <> 3",
        &[],
        |row| Ok((row.int(0)?.unsigned_abs(), row.int(1)?.unsigned_abs())),
    );
    Ok(sums.await?.unwrap_or_default())
}
