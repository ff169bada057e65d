//! By whom stored contents are kept, for the space report.

use model::{Result, id::BlobId};

use super::json_numbers;
use crate::{Conn, dialect::with_numbers};

/// By whom a stored content is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holders {
    /// Projects in whose use it counts.
    pub projects: i64,
    pub in_trash: bool,
}

/// Of these contents, by their numbers.
pub async fn of_all(conn: &mut Conn, ids: &[BlobId]) -> Result<Vec<(BlobId, Holders)>> {
    let list = json_numbers(ids.iter().map(|id| id.0));
    let sql = with_numbers!(
        conn,
        "SELECT b.id,
                (SELECT COUNT(DISTINCT r.project_id)
                   FROM repository_blobs l
                   JOIN repositories r ON r.id = l.repository_id
                  WHERE l.blob_id = b.id AND l.counted),
                EXISTS (SELECT 1 FROM trash_blobs t WHERE t.blob_id = b.id)
           FROM blobs b
          WHERE b.id IN",
        "$1",
        "ORDER BY b.id"
    );
    conn.rows(sql, &[(&list).into()], |row| {
        let holders = Holders {
            projects: row.int(1)?,
            in_trash: row.bool(2)?,
        };
        Ok((BlobId(row.int(0)?), holders))
    })
    .await
}
