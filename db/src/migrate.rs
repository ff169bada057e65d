//! Migrations: each in one transaction and under a lock, since all nodes of a cluster start at once. A file is never
//! edited after its release. An older binary refuses a newer schema. Indexes of large tables stand in `indexes.rs`.

mod indexes;
mod text;

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use model::{Error, Result, error::internal};

use self::text::for_engine;
use crate::{
    Conn, Db, Opened, Tx,
    conn::Driver,
    dialect::advisory,
    errors::sqlite_error,
    sqlite::{self, Access},
};

/// Rows in the way that are named.
const NAMED: usize = 10;

/// One step of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    pub version: i64,
    pub name: &'static str,
    /// Statements for both engines; `{id}`, `{bytes}`, `{word}` and `{transaction}` stand for what each calls them, and
    /// lines after `-- sqlite:` or `-- postgres:` are for that one alone, up to `-- both:`.
    pub sql: &'static str,
    /// `CREATE INDEX` statements for tables that may be large by now. On PostgreSQL they are built beside whoever writes.
    pub indexes: &'static str,
    /// Queries asked before anything is changed: each row they give is in the way, and its text says which it is and what to
    /// do about it.
    pub checks: &'static [&'static str],
}

/// All steps, oldest first.
pub const ALL: &[Migration] = &[
    Migration {
        version: 1,
        name: "registry",
        sql: include_str!("migrations/0001_registry.sql"),
        indexes: "",
        checks: &[],
    },
    Migration {
        version: 2,
        name: "harbor",
        sql: include_str!("migrations/0002_harbor.sql"),
        indexes: include_str!("migrations/0002_harbor.indexes.sql"),
        checks: &[],
    },
    Migration {
        version: 3,
        name: "housekeeping",
        sql: include_str!("migrations/0003_housekeeping.sql"),
        indexes: include_str!("migrations/0003_housekeeping.indexes.sql"),
        checks: &[],
    },
    Migration {
        version: 4,
        name: "cluster",
        sql: include_str!("migrations/0004_cluster.sql"),
        indexes: "",
        checks: &[],
    },
];

/// Where a database stands.
#[derive(Debug, Clone)]
pub struct Status {
    /// 0 for an empty database.
    pub version: i64,
    pub pending: &'static [Migration],
}

/// Reads where the database stands; refuses one that a newer binary has migrated.
pub async fn status(db: &Db, steps: &'static [Migration]) -> Result<Status> {
    let version = current(&mut *db.reader().await?).await?;
    let newest = steps.last().map_or(0, |step| step.version);
    if version > newest {
        return Err(Error::Precondition(format!(
            "the database has schema version {version}, this binary ({}) knows versions up to {newest}: start a newer binary, or restore the copy made before the migration",
            env!("CARGO_PKG_VERSION")
        )));
    }
    let first_pending = steps
        .iter()
        .position(|step| step.version > version)
        .unwrap_or(steps.len());
    Ok(Status {
        version,
        pending: &steps[first_pending..],
    })
}

/// Brings the schema up to date; answers the steps that were taken here. A SQLite file that holds something is copied first.
pub async fn up(db: &Db, steps: &'static [Migration]) -> Result<Vec<Migration>> {
    let status = status(db, steps).await?;
    if let Opened::Sqlite(sqlite) = &*db.0.engine.load_full()
        && status.version > 0
        && !status.pending.is_empty()
    {
        let file = sqlite.path().to_owned();
        let kept = tokio::task::spawn_blocking(move || keep_copy(&file, status.version)).await;
        let kept = kept.map_err(internal("copying the database"))??;
        tracing::info!(copy = %kept.display(), "kept a copy of the database before its migration");
    }
    // Nobody writes to a new database yet.
    let at_once = db.is_exclusive() || status.version == 0;
    let mut taken = Vec::new();
    for step in status.pending {
        if db
            .write_for_long(move |tx| Box::pin(take(tx, *step, at_once)))
            .await?
        {
            taken.push(*step);
        }
    }
    indexes::build(db, steps).await?;
    Ok(taken)
}

/// Runs the pending steps and takes them all back: shows whether they would work on this very data.
pub async fn rehearse(db: &Db, steps: &'static [Migration]) -> Result<Vec<Migration>> {
    const REHEARSED: &str = "rehearsed";
    let pending = status(db, steps).await?.pending;
    let outcome = db
        .write_for_long(move |tx| {
            Box::pin(async move {
                for step in pending {
                    take(tx, *step, true).await?;
                }
                // Nothing takes a transaction back but an error.
                Err::<(), _>(Error::Precondition(REHEARSED.to_owned()))
            })
        })
        .await;
    match outcome {
        Err(Error::Precondition(text)) if text == REHEARSED => Ok(pending.to_vec()),
        outcome => outcome.map(|()| Vec::new()),
    }
}

/// One step, with its indexes when `at_once`; false when another node has taken it meanwhile.
async fn take(tx: &mut Tx, step: Migration, at_once: bool) -> Result<bool> {
    if tx.locks_rows() {
        // The first lock is held until the transaction ends; any number will do as long as it is always the same. A step
        // may take long, but it must not wait long for a table, since everybody else then waits behind it.
        let lock = advisory::lock(advisory::MIGRATION);
        tx.batch(&format!(
            "SET LOCAL statement_timeout = 0; {lock}; SET LOCAL lock_timeout = '5s'"
        ))
        .await?;
    }
    if current(tx).await? >= step.version {
        return Ok(false);
    }
    tx.batch("CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)")
        .await?;
    check(tx, step).await?;
    let sql = for_engine(step.sql, tx);
    tx.batch(&sql).await?;
    if at_once {
        tx.batch(step.indexes).await?;
    }
    let now = tx.now().await?;
    tx.execute(
        "INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)",
        &[step.version.into(), step.name.into(), now.into()],
    )
    .await?;
    Ok(true)
}

/// Refuses when rows are in the way, and names them.
async fn check(tx: &mut Tx, step: Migration) -> Result<()> {
    let mut found = Vec::new();
    for query in step.checks {
        found.extend(tx.rows(query, &[], |row| row.text(0)).await?);
    }
    if found.is_empty() {
        return Ok(());
    }
    let more = found.len().saturating_sub(NAMED);
    found.truncate(NAMED);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    Err(Error::Precondition(format!(
        "the database cannot be brought to schema version {} ({}) before this is put right: {}",
        step.version,
        step.name,
        found.join("; ")
    )))
}

pub(crate) async fn current(conn: &mut Conn) -> Result<i64> {
    let table = match &conn.driver {
        Driver::Sqlite(_) => "SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'",
        Driver::Postgres(_) => "SELECT 1 WHERE to_regclass('schema_migrations') IS NOT NULL",
    };
    if !conn.exists(table, &[]).await? {
        return Ok(0);
    }
    let newest = conn
        .row(
            "SELECT COALESCE(MAX(version), 0) FROM schema_migrations",
            &[],
            |row| row.int(0),
        )
        .await?;
    Ok(newest.unwrap_or(0))
}

/// `seawall.sqlite` becomes `seawall.sqlite.before-<version + 1>`, complete and on the disk. One that is there already is
/// replaced: it is of an attempt that was interrupted, or of a migration that was taken back by restoring it.
fn keep_copy(file: &Path, version: i64) -> Result<PathBuf> {
    let with = |file: &Path, end: String| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let copy = with(file, format!(".before-{}", version + 1));
    let unfinished = with(&copy, ".unfinished".to_owned());
    let _ = std::fs::remove_file(&unfinished); // what an interrupted attempt left; VACUUM INTO refuses to overwrite
    let copied = write_copy(file, &unfinished, &copy);
    if copied.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    copied.map(|()| copy)
}

fn write_copy(file: &Path, unfinished: &Path, copy: &Path) -> Result<()> {
    let name = unfinished.to_str().ok_or_else(|| {
        Error::Internal(anyhow::anyhow!("`{}` is not UTF-8", unfinished.display()))
    })?;
    let conn = sqlite::connect(file, Access::Read, Duration::from_secs(10))?;
    conn.execute("VACUUM INTO ?1", [name])
        .map_err(sqlite_error)?;
    let context = "keeping a copy of the database before its migration";
    File::open(unfinished)
        .and_then(|copy| copy.sync_all())
        .map_err(internal(context))?;
    std::fs::rename(unfinished, copy).map_err(internal(context))?;
    let directory = copy
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(internal(context))
}
