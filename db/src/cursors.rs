//! How far readers of `changes` and `audit` have come. Numbers are not in the order of commits on PostgreSQL, so a place is
//! (transaction, number), and nobody reads beyond the oldest transaction that is still open: what it writes comes later.

use model::{Result, time::Timestamp};

use crate::{Conn, Tx};

/// A place in a log; the default is before its first row. SQLite commits in the order of numbers, there `tx` is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub tx: i64,
    pub id: i64,
}

/// Where a reader stands; none when it never read.
pub async fn find(conn: &mut Conn, name: &str) -> Result<Option<Cursor>> {
    conn.row(
        "SELECT tx, id FROM cursors WHERE name = $1",
        &[name.into()],
        |row| {
            Ok(Cursor {
                tx: row.int(0)?,
                id: row.int(1)?,
            })
        },
    )
    .await
}

/// Moves a reader; never back, whoever reads beside it.
pub async fn set(tx: &mut Tx, name: &str, cursor: Cursor, now: Timestamp) -> Result<()> {
    tx.execute(
        "INSERT INTO cursors (name, tx, id, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO UPDATE SET tx = excluded.tx, id = excluded.id, updated_at = excluded.updated_at
          WHERE (cursors.tx, cursors.id) < (excluded.tx, excluded.id)",
        &[name.into(), cursor.tx.into(), cursor.id.into(), now.into()],
    )
    .await
    .map(|_| ())
}

/// Forgets a reader, so that it begins anew.
pub async fn delete(tx: &mut Tx, name: &str) -> Result<()> {
    tx.execute("DELETE FROM cursors WHERE name = $1", &[name.into()])
        .await
        .map(|_| ())
}
