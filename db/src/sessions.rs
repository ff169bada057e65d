//! Browsers' sessions. The cookie itself stands nowhere: a row's id is its SHA-256. A session holds for the state of the user in
//! which it began, so another password, another name or other rights end it on every node at once.

use std::time::Duration;

use model::{Result, id::UserId, time::Timestamp};

use crate::{Conn, Tx};

/// A session that goes on, and its user as he is now.
#[derive(Debug, Clone)]
pub struct Session {
    pub user: UserId,
    pub user_name: String,
    pub admin: bool,
    pub version: i64,
    pub seen_at: Timestamp,
}

pub async fn find(conn: &mut Conn, id: &str, now: Timestamp) -> Result<Option<Session>> {
    conn.row(
        "SELECT u.id, u.name, u.admin, u.version, s.seen_at
           FROM sessions s
           JOIN users u ON u.id = s.user_id AND u.version = s.version AND u.deleted_at IS NULL
          WHERE s.id = $1 AND s.expires_at > $2",
        &[id.into(), now.into()],
        |row| {
            Ok(Session {
                user: UserId(row.int(0)?),
                user_name: row.text(1)?,
                admin: row.bool(2)?,
                version: row.int(3)?,
                seen_at: row.time(4)?,
            })
        },
    )
    .await
}

/// `version` is the user's when his password was checked: one that was changed since then begins a session that is over.
pub async fn insert(
    tx: &mut Tx,
    id: &str,
    user: UserId,
    version: i64,
    life: Duration,
    now: Timestamp,
) -> Result<()> {
    tx.execute(
        "INSERT INTO sessions (id, user_id, version, created_at, seen_at, expires_at) VALUES ($1, $2, $3, $4, $4, $5)",
        &[id.into(), user.into(), version.into(), now.into(), now.plus(life).into()],
    )
    .await
    .map(|_| ())
}

/// Puts its end off. False when it was seen since `before`, or is gone.
pub async fn renew(
    tx: &mut Tx,
    id: &str,
    before: Timestamp,
    life: Duration,
    now: Timestamp,
) -> Result<bool> {
    let renewed = tx
        .execute(
            "UPDATE sessions SET seen_at = $3, expires_at = $4 WHERE id = $1 AND seen_at < $2 AND expires_at > $3",
            &[id.into(), before.into(), now.into(), now.plus(life).into()],
        )
        .await?;
    Ok(renewed > 0)
}

pub async fn delete(tx: &mut Tx, id: &str) -> Result<()> {
    tx.execute("DELETE FROM sessions WHERE id = $1", &[id.into()])
        .await
        .map(|_| ())
}

/// All of one user's.
pub async fn delete_of(tx: &mut Tx, user: UserId) -> Result<()> {
    tx.execute("DELETE FROM sessions WHERE user_id = $1", &[user.into()])
        .await
        .map(|_| ())
}

/// Drops up to `limit` that are over; answers how many went.
pub async fn trim(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64> {
    tx.execute(
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
        &[now.into(), limit.into()],
    )
    .await
}
