//! What changes in the source meanwhile: triggers write down the keys of rows that came, went or changed, in the transaction
//! that does it. They stand in the database, so that they outlive the process.

use std::time::Duration;

use futures_util::future::BoxFuture;
use model::{Error, Result, error::internal};
use tokio::time::sleep;

use super::{
    Begun, MOVING,
    schema::{Table, has_table, quote, tables},
};
use crate::{Conn, Db, Tx, dialect::advisory, facts};

/// How often a table that is busy is asked for again before the move gives up, and how long those who waited behind have it in between.
const ATTEMPTS: usize = 30;
const PAUSE: Duration = Duration::from_secs(1);

/// Which move is under way, until the end of the transaction: who begins one, makes or takes away its triggers, or gives it up waits for
/// the others that do.
pub(super) async fn hold(tx: &mut Tx) -> Result<Option<Begun>> {
    if tx.locks_rows() {
        tx.batch(&advisory::lock(advisory::WATCHING)).await?;
    }
    find(tx).await
}

/// The move that this database is the source of.
pub(super) async fn find(conn: &mut Conn) -> Result<Option<Begun>> {
    let found = facts::find(conn, MOVING).await?;
    found
        .map(|text| serde_json::from_str(&text).map_err(internal("reading which move has begun")))
        .transpose()
}

/// From now on changes of these tables are written down. What was begun goes on; another move is refused.
pub(super) async fn begin(db: &Db, tables: &[Table], begun: &Begun) -> Result<()> {
    let text = serde_json::to_string(begun).map_err(internal("noting a move"))?;
    let id = begun.id.clone();
    db.write(move |tx| {
        let (text, id) = (text.clone(), id.clone());
        Box::pin(async move {
            if let Some(found) = hold(tx).await?
                && found.id != id
            {
                return Err(Error::Precondition(
                    "another move of this database has begun: go on with that one, or end it with `seawall move --abort`".to_owned(),
                ));
            }
            facts::set(tx, MOVING, &text).await?;
            let numbered = if tx.locks_rows() {
                "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
            } else {
                "INTEGER PRIMARY KEY AUTOINCREMENT"
            };
            tx.batch(&format!(
                "CREATE TABLE IF NOT EXISTS moved_rows (id {numbered}, tbl TEXT NOT NULL, key TEXT NOT NULL)"
            ))
            .await
        })
    })
    .await?;
    for table in tables.iter().filter(|table| table.has_key()) {
        let id = begun.id.clone();
        patiently(db, table, move |tx, table| {
            let id = id.clone();
            Box::pin(async move { make(tx, table, &id).await })
        })
        .await?;
    }
    Ok(())
}

/// On PostgreSQL a trigger waits for all who use its table, and everybody else behind it: not for long, and again.
async fn patiently(
    db: &Db,
    table: &Table,
    work: impl for<'t> Fn(&'t mut Tx, &'t Table) -> BoxFuture<'t, Result<()>>
    + Clone
    + Send
    + Sync
    + 'static,
) -> Result<()> {
    let mut refused = None;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            sleep(PAUSE).await;
        }
        let (table, work) = (table.clone(), work.clone());
        let done = db.write(move |tx| {
            let (table, work) = (table.clone(), work.clone());
            Box::pin(async move { work(tx, &table).await })
        });
        match done.await {
            Err(Error::Unavailable(error)) => refused = Some(error),
            done => return done,
        }
    }
    let refused = refused.unwrap_or_else(|| anyhow::anyhow!("it is busy"));
    Err(Error::Unavailable(refused.context(format!(
        "the table `{}` could not be had: try again later",
        table.name
    ))))
}

async fn make(tx: &mut Tx, table: &Table, id: &str) -> Result<()> {
    // Without what the move has made first, each write of the table would fail.
    if hold(tx).await?.is_none_or(|begun| begun.id != id) {
        return Err(Error::Precondition(
            "the move was given up meanwhile".to_owned(),
        ));
    }
    if is_watched(tx, table).await? {
        return Ok(());
    }
    let text = if tx.locks_rows() {
        format!("SET LOCAL lock_timeout = '2s'; {}", for_postgres(table))
    } else {
        for_sqlite(table)
    };
    tx.batch(&text).await
}

async fn is_watched(tx: &mut Tx, table: &Table) -> Result<bool> {
    let trigger = format!("moved_{}_insert", table.name);
    let sql = if tx.locks_rows() {
        "SELECT 1 FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
          WHERE t.tgname = $1 AND c.relnamespace = to_regnamespace(current_schema())"
    } else {
        "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name = $1"
    };
    tx.exists(sql, &[(&trigger).into()]).await
}

fn for_sqlite(table: &Table) -> String {
    let (name, quoted) = (&table.name, quote(&table.name));
    let (new, old) = (table.key_text("NEW."), table.key_text("OLD."));
    let note = |key: &str| {
        format!("INSERT INTO moved_rows (tbl, key) VALUES ('{name}', json_array({key}));")
    };
    format!(
        "CREATE TRIGGER moved_{name}_insert AFTER INSERT ON {quoted} BEGIN {} END;
         CREATE TRIGGER moved_{name}_delete AFTER DELETE ON {quoted} BEGIN {} END;
         CREATE TRIGGER moved_{name}_update AFTER UPDATE ON {quoted} BEGIN {}
             INSERT INTO moved_rows (tbl, key) SELECT '{name}', json_array({old}) WHERE json_array({old}) <> json_array({new});
         END;",
        note(&new),
        note(&old),
        note(&new),
    )
}

fn for_postgres(table: &Table) -> String {
    let (name, quoted) = (&table.name, quote(&table.name));
    let (new, old) = (table.key_text("NEW."), table.key_text("OLD."));
    let note = |key: &str| {
        format!(
            "INSERT INTO moved_rows (tbl, key) VALUES ('{name}', json_build_array({key})::TEXT);"
        )
    };
    format!(
        "CREATE OR REPLACE FUNCTION moved_{name}() RETURNS TRIGGER LANGUAGE plpgsql AS $moved$
         BEGIN
             IF TG_OP = 'INSERT' THEN
                 {new_note}
             ELSIF TG_OP = 'DELETE' THEN
                 {old_note}
             ELSE
                 {new_note}
                 IF ({old}) IS DISTINCT FROM ({new}) THEN
                     {old_note}
                 END IF;
             END IF;
             RETURN NULL;
         END $moved$;
         CREATE TRIGGER moved_{name}_insert AFTER INSERT OR UPDATE OR DELETE ON {quoted}
             FOR EACH ROW EXECUTE FUNCTION moved_{name}();",
        new_note = note(&new),
        old_note = note(&old),
    )
}

/// Takes away what a move that is over has left, a table at a time: each waits for all who use it.
pub async fn unwatch(db: &Db) -> Result<()> {
    let is_over = {
        let mut reader = db.reader().await?;
        find(&mut reader).await?.is_none() && has_table(&mut reader, "moved_rows").await?
    };
    if !is_over {
        return Ok(());
    }
    let tables = tables(&mut *db.reader().await?).await?;
    for table in tables.iter().filter(|table| table.has_key()) {
        patiently(db, table, |tx, table| {
            Box::pin(async move {
                // Another may have begun, which needs them. Where there are none nobody has to wait.
                if hold(tx).await?.is_some() || !is_watched(tx, table).await? {
                    return Ok(());
                }
                let text = removal(table, tx.locks_rows());
                tx.batch(&text).await
            })
        })
        .await?;
    }
    let drop = db.write(|tx| {
        Box::pin(async move {
            // Those of a move that began and was given up meanwhile need it still.
            if hold(tx).await?.is_some() || has_triggers(tx).await? {
                return Ok(());
            }
            tx.batch("DROP TABLE IF EXISTS moved_rows").await
        })
    });
    drop.await
}

async fn has_triggers(tx: &mut Tx) -> Result<bool> {
    let sql = if tx.locks_rows() {
        "SELECT 1 FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
          WHERE c.relnamespace = to_regnamespace(current_schema()) AND t.tgname LIKE 'moved!_%!_insert' ESCAPE '!'"
    } else {
        "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'moved!_%!_insert' ESCAPE '!'"
    };
    tx.exists(sql, &[]).await
}

/// The statements that take a table's triggers away again.
pub(super) fn removal(table: &Table, is_postgres: bool) -> String {
    let (name, quoted) = (&table.name, quote(&table.name));
    if is_postgres {
        return format!(
            "SET LOCAL lock_timeout = '2s'; DROP TRIGGER IF EXISTS moved_{name}_insert ON {quoted}; DROP FUNCTION IF EXISTS moved_{name}()"
        );
    }
    let drops = ["insert", "update", "delete"]
        .map(|when| format!("DROP TRIGGER IF EXISTS moved_{name}_{when};"));
    drops.concat()
}
