//! The end of a move, while writers are held: the last round, what the engines count by themselves, the comparison; then the source
//! is sealed. Foreign keys are checked afterwards, beside whoever writes.

use std::collections::BTreeMap;

use model::{Error, Result, error::internal};

use super::{
    Begun, Held, MOVED_TO, MOVING, Moving, Round, STORE_MOVED, capture, copy,
    schema::{Table, quote},
    session::{Access, Session},
};
use crate::{Conn, Db, dialect::locking, facts, nodes, store_id};

/// Tables with so many rows are not compared while writers wait.
const COUNTED: i64 = 2_000_000;

/// Where the contents of a moved database are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Where they were.
    Nothing,
    /// In another store, each at the location of its generation: the move's id.
    Store(String),
}

/// What the last round has done.
#[derive(Debug, Clone)]
pub struct Finished {
    pub round: Round,
    /// Rows by table, as both have them.
    pub rows: BTreeMap<String, i64>,
}

impl Moving {
    /// The last round. From now on the target is whole, and the source is not to be written any more, unless `reopen` is called.
    pub async fn finish(&mut self, _held: &Held, change: &Change) -> Result<Finished> {
        let round = self.catch_up_last().await?;
        let mut rows = BTreeMap::new();
        self.from.begin_snapshot().await?;
        self.to.begin().await?;
        bring_facts(&mut self.from.conn, &mut self.to.conn).await?;
        self.to.end().await?;
        for table in &self.tables {
            let ours = table.count_up_to(COUNTED, &mut self.from.conn).await?;
            if ours == COUNTED {
                continue;
            }
            let theirs = table.count(&mut self.to.conn).await?;
            if ours != theirs {
                return Err(Error::Internal(anyhow::anyhow!(
                    "the table `{}` has {ours} rows here and {theirs} where it was moved to",
                    table.name
                )));
            }
            rows.insert(table.name.clone(), ours);
        }
        self.to.begin().await?;
        place_cursors(&mut self.from.conn, &mut self.to.conn).await?;
        for table in self.tables.iter().filter(|table| table.counts) {
            let number = counted(&mut self.from.conn, table).await?;
            set_counted(&mut self.to.conn, table, number).await?;
        }
        self.from.end().await?;
        let conn = &mut self.to.conn;
        // Another server has other timelines.
        conn.execute(
            "DELETE FROM facts WHERE name IN ($1, $2, $3)",
            &[MOVING.into(), MOVED_TO.into(), facts::TIMELINE.into()],
        )
        .await?;
        apply(conn, change).await?;
        if conn.locks_rows() {
            bring_constraints(conn).await?;
        }
        copy::complete(conn).await?;
        self.to.end().await?;
        Ok(Finished { round, rows })
    }

    /// The last round was in vain: writers go on in the source.
    pub async fn reopen(&mut self) -> Result<()> {
        self.to.begin().await?;
        copy::reopen(&mut self.to.conn).await?;
        if self.to.conn.locks_rows() {
            copy::take_again(&mut self.to.conn).await?;
        }
        self.to.end().await
    }

    /// Foreign keys of a SQLite target that do not hold, as far as it was brought.
    pub async fn check(&mut self) -> Result<()> {
        if self.to.conn.locks_rows() {
            return Ok(());
        }
        let found = self
            .to
            .conn
            .rows(
                "SELECT DISTINCT `table` FROM pragma_foreign_key_check",
                &[],
                |row| row.text(0),
            )
            .await?;
        match found.first() {
            None => Ok(()),
            Some(table) => Err(Error::Internal(anyhow::anyhow!(
                "rows of the table `{table}` name others that are not there"
            ))),
        }
    }
}

/// Marks a database as one that has gone elsewhere. Nobody uses it from now on; its triggers stay, for to take them away waits for
/// whoever reads a table, a backup for instance.
pub async fn seal(db: &Db, place: &str, _held: &Held) -> Result<()> {
    seal_alone(db, place).await
}

/// The same of one that nobody has open.
pub async fn seal_alone(db: &Db, place: &str) -> Result<()> {
    let mut own = Session::open(db, Access::Seal).await?;
    own.begin().await?;
    let conn = &mut own.conn;
    facts::delete(conn, MOVING).await?;
    facts::set(conn, MOVED_TO, place).await?;
    own.end().await
}

/// Ends a move that is not wanted any more: the database stays where it is.
pub async fn abort(db: &Db) -> Result<Option<Begun>> {
    let found = db.write(|tx| {
        Box::pin(async move {
            let found = capture::hold(tx).await?;
            facts::delete(tx, MOVING).await?;
            Ok(found)
        })
    });
    let found = found.await?;
    if let Err(error) = capture::unwatch(db).await {
        tracing::warn!(%error, "the triggers of the move are still there; the next start takes them away");
    }
    Ok(found)
}

/// The database stays, its contents have gone to another store. Hold the writers, and let [`super::unwatch`] follow when they go on.
/// Refused where a node has begun meanwhile that is not `own`, the one that serves here: it would go on with the store before.
pub async fn change_store(db: &Db, id: &str, own: Option<&str>, _held: &Held) -> Result<()> {
    let mut session = Session::open(db, Access::Seal).await?;
    session.begin().await?;
    let conn = &mut session.conn;
    apply(conn, &Change::Store(id.to_owned())).await?;
    if conn.locks_rows() {
        let since = conn.now(db.clock()).await?.minus(nodes::SILENT);
        let alive = nodes::seen_since(conn, since).await?;
        if let Some(node) = alive.iter().find(|node| own != Some(&*node.name)) {
            return Err(Error::Precondition(format!(
                "the node `{}` on {} has begun meanwhile: stop all nodes but one for the time of the move",
                node.name, node.host
            )));
        }
    }
    facts::delete(conn, MOVING).await?;
    session.end().await
}

/// Whether that has come to its end, of a COMMIT that was not answered: one that is under way is waited for.
pub async fn has_changed_store(db: &Db, id: &str) -> Result<bool> {
    let mut own = Session::open(db, Access::Seal).await?;
    own.begin().await?;
    let conn = &mut own.conn;
    let sql = locking!(
        conn,
        "SELECT value FROM facts WHERE name = $1",
        "FOR UPDATE"
    );
    conn.row(sql, &[MOVING.into()], |row| row.text(0)).await?;
    let moved = facts::find(conn, STORE_MOVED).await?;
    own.end().await?;
    Ok(moved.as_deref() == Some(id))
}

/// The store has the move's own identity. Contents lie where their generation says, and uploads in progress begin anew.
async fn apply(conn: &mut Conn, change: &Change) -> Result<()> {
    let Change::Store(id) = change else {
        return Ok(());
    };
    // First: a node that begins looks at it, and waits for the end of this.
    store_id::replace(conn, id).await?;
    // What goes of bytes that were no good lies in the old store alone, and would go by the name of good ones in the new.
    conn.execute("DELETE FROM blobs WHERE state = 2 AND generation < 0", &[])
        .await?;
    conn.execute(
        "UPDATE blobs SET location = CASE WHEN generation = 0 THEN 'data' ELSE 'data.' || CAST(generation AS TEXT) END
          WHERE location <> 'data'",
        &[],
    )
    .await?;
    conn.execute(
        "UPDATE uploads SET cancelled = TRUE, epoch = epoch + 1, received = 0, hash_state = NULL WHERE finished IS NULL",
        &[],
    )
    .await?;
    facts::set(conn, STORE_MOVED, id).await
}

/// All facts as the source has them: a last round that was in vain has left others.
async fn bring_facts(from: &mut Conn, to: &mut Conn) -> Result<()> {
    let all = from
        .rows(
            "SELECT name, value FROM facts WHERE name <> $1 ORDER BY name",
            &[MOVING.into()],
            |row| Ok((row.text(0)?, row.text(1)?)),
        )
        .await?;
    to.execute("DELETE FROM facts WHERE name <> $1", &[MOVING.into()])
        .await?;
    for (name, value) in all {
        facts::set(to, &name, &value).await?;
    }
    Ok(())
}

/// Places in logs: before the first row that their reader has not seen. Where transactions had other numbers, a few rows may come twice.
async fn place_cursors(from: &mut Conn, to: &mut Conn) -> Result<()> {
    let cursors = from
        .rows(
            "SELECT name, tx, id FROM cursors ORDER BY name",
            &[],
            |row| Ok((row.text(0)?, row.int(1)?, row.int(2)?)),
        )
        .await?;
    for (name, tx, id) in cursors.into_iter().filter(|(_, tx, _)| *tx > 0) {
        let unread = from
            .row(
                "SELECT MIN(id) FROM audit WHERE (tx, id) > ($1, $2)",
                &[tx.into(), id.into()],
                |row| row.opt_int(0),
            )
            .await?
            .flatten();
        let newest = from
            .row("SELECT MAX(id) FROM audit", &[], |row| row.opt_int(0))
            .await?
            .flatten();
        let place = unread.map_or(newest.unwrap_or(id).max(id), |first| first - 1);
        to.execute(
            "UPDATE cursors SET tx = 0, id = $2 WHERE name = $1",
            &[(&name).into(), place.into()],
        )
        .await?;
    }
    Ok(())
}

/// The last number that was given out.
async fn counted(conn: &mut Conn, table: &Table) -> Result<i64> {
    let name = table.name.as_str();
    if !conn.locks_rows() {
        let found = conn
            .row(
                "SELECT seq FROM sqlite_sequence WHERE name = $1",
                &[name.into()],
                |row| row.int(0),
            )
            .await?;
        return Ok(found.unwrap_or(0));
    }
    let sequence = sequence_of(conn, table).await?;
    let sql = format!("SELECT last_value, is_called FROM {sequence}");
    let found = conn
        .plain_rows(&sql, &[], |row| {
            Ok(if row.bool(1)? { row.int(0)? } else { 0 })
        })
        .await?;
    Ok(found.first().copied().unwrap_or(0))
}

async fn set_counted(conn: &mut Conn, table: &Table, number: i64) -> Result<()> {
    let name = table.name.as_str();
    if conn.locks_rows() {
        let sequence = sequence_of(conn, table).await?;
        conn.rows(
            "SELECT setval(CAST($1 AS TEXT)::REGCLASS, GREATEST($2, 1), $2 > 0)",
            &[(&sequence).into(), number.into()],
            |_| Ok(()),
        )
        .await?;
        return Ok(());
    }
    conn.execute(
        "DELETE FROM sqlite_sequence WHERE name = $1",
        &[name.into()],
    )
    .await?;
    conn.execute(
        "INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)",
        &[name.into(), number.into()],
    )
    .await
    .map(|_| ())
}

/// As PostgreSQL takes it in a statement.
async fn sequence_of(conn: &mut Conn, table: &Table) -> Result<String> {
    let column = table.key.first().map_or("id", |&n| &table.columns[n].name);
    let found = conn
        .row(
            "SELECT pg_get_serial_sequence($1, $2)",
            &[(&quote(&table.name)).into(), column.into()],
            |row| row.text(0),
        )
        .await?;
    found.ok_or_else(|| Error::Internal(anyhow::anyhow!("`{}` has no sequence", table.name)))
}

/// The foreign keys are back for whatever is written from now on; the rest is checked later.
async fn bring_constraints(conn: &mut Conn) -> Result<()> {
    for [table, name, definition] in constraints(conn).await? {
        let text = format!(
            "ALTER TABLE {} ADD CONSTRAINT {} {definition} NOT VALID",
            quote(&table),
            quote(&name)
        );
        conn.batch(&text).await?;
    }
    Ok(())
}

pub(super) async fn constraints(conn: &mut Conn) -> Result<Vec<[String; 3]>> {
    let noted = copy::get(conn, copy::CONSTRAINTS).await?;
    let noted = noted.unwrap_or_else(|| "[]".to_owned());
    serde_json::from_str(&noted).map_err(internal("reading which foreign keys there were"))
}

/// What is left to do in a database that was moved to: the foreign keys of what came are checked, beside whoever writes, and
/// the notes of the move go. What does not hold is told.
pub async fn validate(db: &Db) -> Result<()> {
    if copy::target(db).await? != super::Target::Complete {
        return Ok(());
    }
    let mut own = Session::open(db, Access::Seal).await?;
    let conn = &mut own.conn;
    if conn.locks_rows() {
        for [table, name, _] in constraints(conn).await? {
            let text = format!(
                "ALTER TABLE {} VALIDATE CONSTRAINT {}",
                quote(&table),
                quote(&name)
            );
            conn.batch(&text).await?;
        }
    }
    copy::forget(conn).await
}
