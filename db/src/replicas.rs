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

/// What becomes of the last commits when a replica takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replication {
    /// There is none, or it is SQLite.
    None,
    /// At least one has each commit before it is acknowledged: nothing is lost.
    Synchronous,
    /// They may be lost.
    Asynchronous,
    /// The role may not see it (`pg_monitor` may).
    Unknown,
}

/// Which replicas the server has, and whether a commit waits for one of them.
pub async fn replication(conn: &mut Conn) -> Result<Replication> {
    if !conn.locks_rows() {
        return Ok(Replication::None);
    }
    let states = conn
        .rows("SELECT sync_state FROM pg_stat_replication", &[], |row| {
            row.opt_text(0)
        })
        .await?;
    let is = |wanted: &[&str]| {
        let mut states = states.iter().flatten();
        states.any(|state| wanted.contains(&state.as_str()))
    };
    Ok(if states.is_empty() {
        Replication::None
    } else if waits_for_none(conn).await? {
        Replication::Asynchronous
    } else if is(&["sync", "quorum"]) {
        Replication::Synchronous
    } else if is(&["async", "potential"]) {
        Replication::Asynchronous
    } else {
        Replication::Unknown
    })
}

/// Whether our commits are answered without any replica, whichever there are.
async fn waits_for_none(conn: &mut Conn) -> Result<bool> {
    conn.exists(
        "SELECT 1 FROM pg_settings WHERE name = 'synchronous_commit' AND setting IN ('local', 'off')",
        &[],
    )
    .await
}

/// Whether commits are answered before they are on the server's disk, as an administrator may have it for the role or the server.
pub async fn acknowledges_early(conn: &mut Conn) -> Result<bool> {
    if !conn.locks_rows() {
        return Ok(false);
    }
    conn.exists(
        "SELECT 1 FROM pg_settings WHERE name = 'synchronous_commit' AND setting = 'off'",
        &[],
    )
    .await
}
