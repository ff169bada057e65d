//! How often what somebody tried was wrong lately. What is counted, and what follows from it, `auth` knows (attempts.rs).

use std::time::Duration;

use model::{Error, Result, time::Timestamp};

use crate::{Conn, Tx, dialect::with_list};

/// One count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures {
    pub name: String,
    /// As it was at `last_at`: what was forgiven since then is not taken off.
    pub count: i64,
    pub last_at: Timestamp,
    /// When this account last signed in from this address.
    pub succeeded_at: Option<Timestamp>,
}

/// Those of these names that there are.
pub async fn list(conn: &mut Conn, names: &[&str]) -> Result<Vec<Failures>> {
    let list = serde_json::json!(names).to_string();
    let sql = with_list!(
        conn,
        "SELECT name, failures, last_at, succeeded_at FROM login_failures WHERE name IN",
        "$1",
        "ORDER BY name LIMIT 100",
        ""
    );
    conn.rows(sql, &[(&list).into()], |row| {
        Ok(Failures {
            name: row.text(0)?,
            count: row.int(1)?,
            last_at: row.time(2)?,
            succeeded_at: row.opt_time(3)?,
        })
    })
    .await
}

/// The count as it is, which nobody else changes until the transaction ends: of many at once each sees what the one before added.
pub async fn hold(tx: &mut Tx, name: &str) -> Result<Failures> {
    let held = tx
        .row(
            "INSERT INTO login_failures (name, failures, last_at) VALUES ($1, 0, 0)
             ON CONFLICT (name) DO UPDATE SET failures = login_failures.failures
             RETURNING failures, last_at, succeeded_at",
            &[name.into()],
            |row| {
                Ok(Failures {
                    name: name.to_owned(),
                    count: row.int(0)?,
                    last_at: row.time(1)?,
                    succeeded_at: row.opt_time(2)?,
                })
            },
        )
        .await?;
    held.ok_or_else(|| Error::Internal(anyhow::anyhow!("a count was neither made nor found")))
}

/// Counts one more, after taking off one for each `forgiven` that passed since the last.
pub async fn add(tx: &mut Tx, name: &str, forgiven: Duration, now: Timestamp) -> Result<()> {
    let forgiven = i64::try_from(forgiven.as_micros())
        .unwrap_or(i64::MAX)
        .max(1);
    tx.execute(
        "INSERT INTO login_failures (name, failures, last_at) VALUES ($1, 1, $2)
         ON CONFLICT (name) DO UPDATE SET
             failures = 1 + CASE
                 WHEN login_failures.last_at > $2 THEN login_failures.failures
                 WHEN login_failures.failures > ($2 - login_failures.last_at) / $3 THEN login_failures.failures - ($2 - login_failures.last_at) / $3
                 ELSE 0
             END,
             last_at = $2",
        &[name.into(), now.into(), forgiven.into()],
    )
    .await
    .map(|_| ())
}

/// Here somebody was right.
pub async fn clear(tx: &mut Tx, name: &str, now: Timestamp) -> Result<()> {
    tx.execute(
        "INSERT INTO login_failures (name, failures, last_at, succeeded_at) VALUES ($1, 0, $2, $2)
         ON CONFLICT (name) DO UPDATE SET failures = 0, last_at = $2, succeeded_at = $2",
        &[name.into(), now.into()],
    )
    .await
    .map(|_| ())
}

/// Drops up to `limit` counts that nobody added to since `before`, but where somebody was right only those from before
/// `known`; answers how many went.
pub async fn trim(tx: &mut Tx, before: Timestamp, known: Timestamp, limit: i64) -> Result<u64> {
    tx.execute(
        "DELETE FROM login_failures WHERE name IN (
             SELECT name FROM login_failures
              WHERE last_at < $1 AND (succeeded_at IS NULL OR succeeded_at < $2)
              ORDER BY last_at
              LIMIT $3)",
        &[before.into(), known.into(), limit.into()],
    )
    .await
}
