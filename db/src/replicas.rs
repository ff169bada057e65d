//! Replicas of the database: one of them may become the primary without the last commits.

use model::Result;

use crate::Conn;

/// How far the database's log goes now; none where there are no replicas to wait for.
pub async fn position(conn: &mut Conn) -> Result<Option<String>> {
    if !conn.locks_rows() {
        return Ok(None);
    }
    conn.row(
        "SELECT pg_current_wal_lsn()::TEXT WHERE EXISTS (SELECT 1 FROM pg_stat_replication)",
        &[],
        |row| row.text(0),
    )
    .await
}

/// Whether all replicas have what was committed before [`position`] was asked. A role that may not see how far they are
/// (`pg_monitor` may) is told that they have not.
pub async fn have(conn: &mut Conn, position: &str) -> Result<bool> {
    let behind = conn
        .exists(
            "SELECT 1 FROM pg_stat_replication WHERE replay_lsn IS NULL OR replay_lsn < CAST($1 AS TEXT)::PG_LSN",
            &[position.into()],
        )
        .await?;
    Ok(!behind)
}
