//! The change log: what happened, in order, written in the transaction that made it happen.

use model::{Result, change::Kind, time::Timestamp};
use serde_json::Value as Json;

use crate::{Conn, Tx};

/// One row of the log.
#[derive(Debug, Clone)]
pub struct Change {
    pub id: i64,
    pub origin: String,
    pub clock: i64,
    pub kind: String,
    /// Names the thing in words that mean the same on every node.
    pub key: String,
    pub payload: String,
    pub at: Timestamp,
}

pub async fn append(
    tx: &mut Tx,
    kind: Kind,
    key: &str,
    payload: &Json,
    now: Timestamp,
) -> Result<()> {
    let clock = tx.tick(now);
    append_at(tx, kind, key, payload, clock, now).await
}

/// With the clock reading that the changed row itself carries.
pub async fn append_at(
    tx: &mut Tx,
    kind: Kind,
    key: &str,
    payload: &Json,
    clock: i64,
    now: Timestamp,
) -> Result<()> {
    let (origin, payload) = (tx.node(), payload.to_string());
    tx.execute(
        "INSERT INTO changes (origin, clock, kind, key, payload, at) VALUES ($1, $2, $3, $4, $5, $6)",
        &[(&*origin).into(), clock.into(), kind.as_str().into(), key.into(), (&payload).into(), now.into()],
    )
    .await
    .map(|_| ())
}

/// The newest rows first; `before` pages back.
pub async fn list(conn: &mut Conn, before: Option<i64>, limit: i64) -> Result<Vec<Change>> {
    conn.rows(
        "SELECT id, origin, clock, kind, key, payload, at FROM changes WHERE id < $1 ORDER BY id DESC LIMIT $2",
        &[before.unwrap_or(i64::MAX).into(), limit.into()],
        |row| {
            Ok(Change {
                id: row.int(0)?,
                origin: row.text(1)?,
                clock: row.int(2)?,
                kind: row.text(3)?,
                key: row.text(4)?,
                payload: row.text(5)?,
                at: row.time(6)?,
            })
        },
    )
    .await
}

/// The greatest clock reading of the last changes, so that a restarted node goes on from there.
pub(crate) async fn newest_clock(conn: &mut Conn) -> Result<i64> {
    let newest = conn
        .row("SELECT COALESCE(MAX(clock), 0) FROM (SELECT clock FROM changes ORDER BY id DESC LIMIT 1000) AS last", &[], |row| row.int(0))
        .await?;
    Ok(newest.unwrap_or(0))
}

/// Drops up to `limit` rows older than `before`; answers how many went.
pub async fn trim(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64> {
    tx.execute(
        "DELETE FROM changes WHERE id IN (SELECT id FROM changes WHERE at < $1 ORDER BY at LIMIT $2)",
        &[before.into(), limit.into()],
    )
    .await
}
