//! Signing keys, shared by all nodes. The private half is encrypted with the key file before it comes here.

use model::{Result, time::Timestamp};

use crate::{Conn, Tx};

/// The purpose of the keys that sign tokens.
pub const TOKEN: &str = "token";

#[derive(Debug, Clone)]
pub struct Key {
    pub id: String,
    /// Encrypted.
    pub private: String,
    pub public: String,
    /// Since when it signs no more; it still verifies.
    pub retired_at: Option<Timestamp>,
}

/// All keys of a purpose, the newest first; retired ones still verify.
pub async fn list(conn: &mut Conn, purpose: &str) -> Result<Vec<Key>> {
    conn.rows(
        "SELECT id, private, public, retired_at FROM keys WHERE purpose = $1 ORDER BY created_at DESC, id LIMIT 16",
        &[purpose.into()],
        |row| Ok(Key { id: row.text(0)?, private: row.text(1)?, public: row.text(2)?, retired_at: row.opt_time(3)? }),
    )
    .await
}

pub async fn insert(tx: &mut Tx, purpose: &str, key: &Key, now: Timestamp) -> Result<()> {
    tx.execute(
        "INSERT INTO keys (id, purpose, private, public, created_at) VALUES ($1, $2, $3, $4, $5)",
        &[
            (&key.id).into(),
            purpose.into(),
            (&key.private).into(),
            (&key.public).into(),
            now.into(),
        ],
    )
    .await
    .map(|_| ())
}

/// The private halves of keys, whatever their purpose, with the keys' names: so many after this name, in the order of names.
pub async fn privates(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<(String, String)>> {
    let sql = "SELECT id, private FROM keys WHERE id > $1 ORDER BY id LIMIT $2";
    conn.rows(sql, &[after.into(), limit.into()], |row| {
        Ok((row.text(0)?, row.text(1)?))
    })
    .await
}

/// The same private half, encrypted otherwise.
pub async fn set_private(tx: &mut Tx, id: &str, private: &str) -> Result<()> {
    let sql = "UPDATE keys SET private = $2 WHERE id = $1";
    let set = tx.execute(sql, &[id.into(), private.into()]).await;
    set.map(|_| ())
}

/// Those that sign stop signing; what they signed still holds.
pub async fn retire(tx: &mut Tx, purpose: &str, now: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE keys SET retired_at = $2 WHERE purpose = $1 AND retired_at IS NULL",
        &[purpose.into(), now.into()],
    )
    .await
    .map(|_| ())
}

/// Forgets those of a purpose that were retired before, and with them what they signed; answers how many.
pub async fn forget_retired(tx: &mut Tx, purpose: &str, before: Timestamp) -> Result<u64> {
    tx.execute(
        "DELETE FROM keys WHERE purpose = $1 AND retired_at < $2",
        &[purpose.into(), before.into()],
    )
    .await
}
