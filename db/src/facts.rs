//! Facts about this database itself: its identity, the store that belongs to it, the fingerprint of its key file.

use model::Result;

use crate::{Conn, Tx, dialect::locking};

/// Names of the facts.
pub const DATABASE_ID: &str = "database.id";
/// The store that is its; see [`crate::store_id`].
pub const STORE_ID: &str = "store.id";
/// What the store held when it was last measured; see `registry::space`.
pub const SPACE: &str = "space";
/// The tree that was taken over, and how far that is; see `registry::import`.
pub const IMPORT: &str = "import";
pub const KEY_FINGERPRINT: &str = "secretkey.fingerprint";
/// The timeline that PostgreSQL writes, when a node looked last.
pub const TIMELINE: &str = "database.timeline";
/// When the key file was changed last, in microseconds.
pub const KEY_CHANGED_AT: &str = "secretkey.changed_at";

pub async fn find(conn: &mut Conn, name: &str) -> Result<Option<String>> {
    conn.row(
        "SELECT value FROM facts WHERE name = $1",
        &[name.into()],
        |row| row.text(0),
    )
    .await
}

/// Reads a fact that stays as it is until the end of the transaction.
pub async fn hold(tx: &mut Tx, name: &str) -> Result<Option<String>> {
    let sql = locking!(tx, "SELECT value FROM facts WHERE name = $1", "FOR SHARE");
    tx.row(sql, &[name.into()], |row| row.text(0)).await
}

/// Reads a fact that nobody else holds or changes until the end of the transaction.
pub async fn lock(tx: &mut Tx, name: &str) -> Result<Option<String>> {
    let sql = locking!(tx, "SELECT value FROM facts WHERE name = $1", "FOR UPDATE");
    tx.row(sql, &[name.into()], |row| row.text(0)).await
}

/// Writes a fact that is not there yet and answers what holds now: of several nodes that start at once one decides.
pub async fn settle(tx: &mut Tx, name: &str, value: &str) -> Result<String> {
    tx.execute(
        "INSERT INTO facts (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        &[name.into(), value.into()],
    )
    .await?;
    Ok(find(tx, name).await?.unwrap_or_default())
}

/// Writes a fact, whatever stood there.
pub async fn set(conn: &mut Conn, name: &str, value: &str) -> Result<()> {
    conn.execute(
        "INSERT INTO facts (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        &[name.into(), value.into()],
    )
    .await
    .map(|_| ())
}

pub async fn delete(conn: &mut Conn, name: &str) -> Result<()> {
    conn.execute("DELETE FROM facts WHERE name = $1", &[name.into()])
        .await
        .map(|_| ())
}
