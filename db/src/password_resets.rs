//! Ways back in by mail. What the mail says stands nowhere: a row's id is its SHA-256. Each works once, and not for long.

use model::{Result, id::UserId, time::Timestamp};

use crate::{Conn, Tx, dialect::locking};

/// Whose password it may set.
pub async fn find(conn: &mut Conn, id: &str, now: Timestamp) -> Result<Option<UserId>> {
    conn.row(
        "SELECT user_id FROM password_resets WHERE id = $1 AND expires_at > $2",
        &[id.into(), now.into()],
        |row| Ok(UserId(row.int(0)?)),
    )
    .await
}

/// The same for the one who uses it up: another who comes with it waits, and then finds it gone.
pub async fn take(tx: &mut Tx, id: &str, now: Timestamp) -> Result<Option<UserId>> {
    let sql = locking!(
        tx,
        "SELECT user_id FROM password_resets WHERE id = $1 AND expires_at > $2",
        "FOR UPDATE"
    );
    let user = tx
        .row(sql, &[id.into(), now.into()], |row| Ok(UserId(row.int(0)?)))
        .await?;
    if let Some(user) = user {
        delete_of(tx, user).await?;
    }
    Ok(user)
}

/// The newest mail counts: earlier ones of this user end.
pub async fn insert(
    tx: &mut Tx,
    id: &str,
    user: UserId,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    delete_of(tx, user).await?;
    tx.execute(
        "INSERT INTO password_resets (id, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
        &[id.into(), user.into(), now.into(), expires_at.into()],
    )
    .await
    .map(|_| ())
}

pub async fn delete_of(tx: &mut Tx, user: UserId) -> Result<()> {
    tx.execute(
        "DELETE FROM password_resets WHERE user_id = $1",
        &[user.into()],
    )
    .await
    .map(|_| ())
}

/// Drops up to `limit` that are over; answers how many went.
pub async fn trim(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64> {
    tx.execute(
        "DELETE FROM password_resets WHERE id IN (SELECT id FROM password_resets WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
        &[now.into(), limit.into()],
    )
    .await
}
