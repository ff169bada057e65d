//! Indexes of large tables on PostgreSQL: built CONCURRENTLY, so that nobody waits to write, which no transaction allows.
//!
//! A step's version is recorded with its tables, and which of its indexes are there is asked of the database's catalogue at
//! each start. A version that counted only after its indexes would need a second mark for "tables yes, indexes no", since a
//! step cannot be taken twice; and the catalogue also tells of an index that a killed build left invalid or that went since.

use std::time::Duration;

use model::Result;

use super::{Migration, text::index_statements};
use crate::{Conn, Db, Opened, Tx, dialect::advisory};

/// How often a node looks whether another has built what is missing.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// An index and the statement that builds it.
#[derive(Clone)]
struct Index {
    name: String,
    statement: String,
}

/// Builds what is missing of the indexes of all steps, or waits until another node has.
pub(super) async fn build(db: &Db, steps: &'static [Migration]) -> Result<()> {
    if db.is_exclusive() {
        return Ok(());
    }
    let wanted = wanted(steps);
    while !missing(&mut *db.reader().await?, &wanted).await?.is_empty() {
        let (wanted, node) = (wanted.clone(), db.in_background());
        let is_built = db.write(move |tx| {
            let (wanted, node) = (wanted.clone(), node.clone());
            Box::pin(async move { build_alone(tx, &node, &wanted).await })
        });
        if !is_built.await? {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }
    Ok(())
}

/// The indexes of all steps but those that a later step drops.
fn wanted(steps: &'static [Migration]) -> Vec<Index> {
    let mut wanted = Vec::new();
    for (position, step) in steps.iter().enumerate() {
        for (name, statement) in index_statements(step.indexes) {
            let dropped = format!("DROP INDEX {name};");
            if !steps[position + 1..]
                .iter()
                .any(|later| later.sql.contains(&dropped))
            {
                wanted.push(Index { name, statement });
            }
        }
    }
    wanted
}

/// Those that are not there, or not whole.
async fn missing<'a>(conn: &mut Conn, wanted: &'a [Index]) -> Result<Vec<&'a Index>> {
    let mut missing = Vec::new();
    for index in wanted {
        let is_valid = conn
            .exists(
                "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass($1) AND indisvalid",
                &[(&index.name).into()],
            )
            .await?;
        if !is_valid {
            missing.push(index);
        }
    }
    Ok(missing)
}

/// False when another node is at it. The transaction holds nothing but the lock that says so: two builds of one table at
/// once would wait for each other. A node that only waited for the lock would be waited for too, so it is tried.
async fn build_alone(tx: &mut Tx, db: &Db, wanted: &[Index]) -> Result<bool> {
    let locked = tx
        .row(
            "SELECT pg_try_advisory_xact_lock($1)",
            &[advisory::INDEXES.into()],
            |row| row.bool(0),
        )
        .await?;
    if locked != Some(true) {
        return Ok(false);
    }
    // Ends the query above too, whose snapshot the builds below would wait for.
    tx.batch("SET LOCAL idle_in_transaction_session_timeout = 0")
        .await?;
    let Opened::Postgres(postgres) = &*db.0.engine.load_full() else {
        return Ok(true);
    };
    let mut conn = postgres.alone().await?;
    for index in missing(&mut conn, wanted).await? {
        tracing::info!(index = %index.name, "building an index beside the writers");
        // What an interrupted build left is of no use, and is in the way.
        conn.batch(&format!("DROP INDEX CONCURRENTLY IF EXISTS {}", index.name))
            .await?;
        let concurrently = index.statement.replacen("INDEX ", "INDEX CONCURRENTLY ", 1);
        conn.batch(&concurrently).await?;
    }
    Ok(true)
}
