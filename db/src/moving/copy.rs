//! The tables in batches, in the order of their keys. How far each has come is written in the transaction that writes the batch.

use model::{Error, Result, error::internal};
use tokio_util::sync::CancellationToken;

use super::{
    Begun, Moving, Progress, STATE, Target,
    schema::{Cell, Table, has_table, key_json, quote, tables},
    session::Session,
};
use crate::{Conn, Db};

/// A table that was copied whole.
const DONE: &str = "done";
const SOURCE: &str = "source";
const PHASE: &str = "phase";
const COPYING: &str = "copying";
const COMPLETE: &str = "complete";
/// Foreign keys that were taken away meanwhile, as JSON.
pub(super) const CONSTRAINTS: &str = "constraints";

/// What a database says of itself to whoever wants to use it, or to move into it.
pub async fn target(db: &Db) -> Result<Target> {
    let conn = &mut *db.reader().await?;
    if let Some(found) = arriving(conn).await? {
        return Ok(found);
    }
    for table in tables(conn).await? {
        if !is_empty(conn, &table).await? {
            return Ok(Target::InUse);
        }
    }
    Ok(Target::Empty)
}

pub(super) async fn arriving(conn: &mut Conn) -> Result<Option<Target>> {
    if !has_table(conn, STATE).await? {
        return Ok(None);
    }
    Ok(Some(match get(conn, PHASE).await?.as_deref() {
        Some(COMPLETE) => Target::Complete,
        _ => Target::Unfinished,
    }))
}

async fn is_empty(conn: &mut Conn, table: &Table) -> Result<bool> {
    let sql = format!("SELECT 1 FROM {} LIMIT 1", quote(&table.name));
    Ok(conn.plain_rows(&sql, &[], |_| Ok(())).await?.is_empty())
}

pub(super) async fn get(conn: &mut Conn, name: &str) -> Result<Option<String>> {
    conn.row(
        "SELECT value FROM moving_state WHERE name = $1",
        &[name.into()],
        |row| row.text(0),
    )
    .await
}

pub(super) async fn set(conn: &mut Conn, name: &str, value: &str) -> Result<()> {
    conn.execute(
        "INSERT INTO moving_state (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        &[name.into(), value.into()],
    )
    .await
    .map(|_| ())
}

/// Makes the target one of this move. What an earlier move left unfinished there is cleared, and nothing else ever is.
pub(super) async fn enter(to: &mut Session, tables: &[Table], begun: &Begun) -> Result<()> {
    to.begin().await?;
    let conn = &mut to.conn;
    let is_known = has_table(conn, STATE).await?;
    if !is_known {
        for table in tables {
            if !is_empty(conn, table).await? {
                return Err(Error::Precondition(format!(
                    "the database to move to is in use (it has rows in `{}`): name an empty database",
                    table.name
                )));
            }
        }
        conn.batch("CREATE TABLE moving_state (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
            .await?;
    } else if get(conn, SOURCE).await?.as_deref() != Some(&begun.id) {
        if get(conn, PHASE).await?.as_deref() == Some(COMPLETE) {
            return Err(Error::Precondition(
                "another move into this database has come to its end: name an empty database"
                    .to_owned(),
            ));
        }
        conn.execute("DELETE FROM moving_state WHERE name <> 'constraints'", &[])
            .await?;
        for table in tables {
            conn.batch(&format!("DELETE FROM {}", quote(&table.name)))
                .await?;
        }
    }
    set(conn, SOURCE, &begun.id).await?;
    set(conn, PHASE, COPYING).await?;
    if conn.locks_rows() {
        match get(conn, CONSTRAINTS).await? {
            None => take_constraints(conn).await?,
            // A process that ended in the last round had brought them back.
            Some(_) => take_again(conn).await?,
        }
    }
    to.end().await
}

/// Takes the foreign keys away, and notes how to bring them back.
async fn take_constraints(conn: &mut Conn) -> Result<()> {
    let found = conn
        .rows(
            "SELECT c.relname::TEXT, k.conname::TEXT, pg_get_constraintdef(k.oid)
               FROM pg_constraint k
               JOIN pg_class c ON c.oid = k.conrelid
              WHERE k.contype = 'f' AND k.connamespace = to_regnamespace(current_schema())
              ORDER BY 1, 2",
            &[],
            |row| Ok([row.text(0)?, row.text(1)?, row.text(2)?]),
        )
        .await?;
    let text = serde_json::to_string(&found).map_err(internal("noting foreign keys"))?;
    set(conn, CONSTRAINTS, &text).await?;
    for [table, name, _] in &found {
        let drop = format!(
            "ALTER TABLE {} DROP CONSTRAINT {}",
            quote(table),
            quote(name)
        );
        conn.batch(&drop).await?;
    }
    Ok(())
}

/// Takes the foreign keys away that the last round had brought back.
pub(super) async fn take_again(conn: &mut Conn) -> Result<()> {
    for [table, name, _] in super::finish::constraints(conn).await? {
        let is_there = conn
            .exists(
                "SELECT 1 FROM pg_constraint WHERE conname = $1 AND connamespace = to_regnamespace(current_schema())",
                &[(&name).into()],
            )
            .await?;
        if is_there {
            let drop = format!(
                "ALTER TABLE {} DROP CONSTRAINT {}",
                quote(&table),
                quote(&name)
            );
            conn.batch(&drop).await?;
        }
    }
    Ok(())
}

/// From now on the target is whole. Stands in the transaction of the last round.
pub(super) async fn complete(conn: &mut Conn) -> Result<()> {
    set(conn, PHASE, COMPLETE).await
}

/// The source goes on for now: what the last round said does not hold any more.
pub(super) async fn reopen(conn: &mut Conn) -> Result<()> {
    set(conn, PHASE, COPYING).await
}

/// Takes the notes away: the database is one as any other.
pub(super) async fn forget(conn: &mut Conn) -> Result<()> {
    conn.batch(&format!("DROP TABLE IF EXISTS {STATE}")).await
}

pub(super) async fn is_done(conn: &mut Conn, table: &Table) -> Result<bool> {
    Ok(get(conn, &mark(table)).await?.as_deref() == Some(DONE))
}

fn mark(table: &Table) -> String {
    format!("table.{}", table.name)
}

impl Moving {
    /// Copies what is missing of a table.
    pub(super) async fn copy_table(
        &mut self,
        index: usize,
        cancel: &CancellationToken,
        progress: &mut Progress,
        told: &mut impl FnMut(Progress),
    ) -> Result<()> {
        let table = &self.tables[index];
        progress.table.clone_from(&table.name);
        if !table.has_key() {
            return Err(Error::Internal(anyhow::anyhow!(
                "the table `{}` has no primary key",
                table.name
            )));
        }
        let noted = get(&mut self.to.conn, &mark(table)).await?;
        if noted.as_deref() == Some(DONE) {
            progress.rows += table.count(&mut self.to.conn).await?.unsigned_abs();
            return Ok(());
        }
        let mut after = noted.map(|text| table.parse_key(&text)).transpose()?;
        loop {
            if cancel.is_cancelled() {
                return Err(Error::Unavailable(anyhow::anyhow!("the move was stopped")));
            }
            let rows = table.page(&mut self.from.conn, after.as_deref()).await?;
            let last: Option<Vec<Cell>> = rows.last().map(|row| table.key_of(row));
            self.to.begin().await?;
            // What collides with another row has changed since the move began, and is brought by a round.
            table.insert(&mut self.to.conn, &rows, true).await?;
            let how_far = last.as_deref().map(key_json);
            let how_far = how_far.as_deref().unwrap_or(DONE);
            set(&mut self.to.conn, &mark(table), how_far).await?;
            self.to.end().await?;
            progress.rows += rows.len() as u64;
            told(progress.clone());
            match last {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// How many rows there are, about.
    pub(super) async fn estimate(&mut self) -> Result<u64> {
        let mut total = 0;
        for table in &self.tables {
            total += table.count(&mut self.from.conn).await?.unsigned_abs();
        }
        Ok(total)
    }

    /// Plans rest on what PostgreSQL knows of its tables; SQLite is never told (see `sqlite.rs`).
    pub(super) async fn analyze(&mut self) -> Result<()> {
        if !self.to.conn.locks_rows() {
            return Ok(());
        }
        for table in &self.tables {
            let text = format!("ANALYZE {}", quote(&table.name));
            self.to.conn.batch(&text).await?;
        }
        Ok(())
    }
}
