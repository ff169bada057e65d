//! Settings that are edited while the server runs, as Harbor keeps them in its database.

use model::{Result, change::Kind, time::Timestamp};
use serde_json::json;

use crate::{Conn, Tx, changes, generations::Touch};

pub async fn find(conn: &mut Conn, name: &str) -> Result<Option<String>> {
    conn.row(
        "SELECT value FROM settings WHERE name = $1",
        &[name.into()],
        |row| row.text(0),
    )
    .await
}

pub async fn set(tx: &mut Tx, name: &str, value: &str, now: Timestamp) -> Result<()> {
    tx.execute(
        "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
        &[name.into(), value.into(), now.into()],
    )
    .await?;
    tx.touch(Touch::Rights);
    changes::append(
        tx,
        Kind::SettingChanged,
        name,
        &json!({ "value": value }),
        now,
    )
    .await
}
