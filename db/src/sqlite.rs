//! SQLite: one writer thread whose waiting transactions share one COMMIT (group commit), and readers on their callers' threads.
//! Nothing is answered before the COMMIT that holds it; when that fails, its whole group fails.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use model::{Error, Result, actor::Actor, error::internal};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use tokio::sync::{mpsc, oneshot};

use crate::{Conn, Shared, Tx, conn::Driver, counters, errors::sqlite_error};

/// Transactions that share one COMMIT at most.
const GROUP: usize = 128;
/// Transactions that may wait for the writer before further ones are refused.
const QUEUE: usize = 4096;
/// Readers kept open when idle.
const IDLE_READERS: usize = 16;

pub(crate) struct Sqlite {
    path: PathBuf,
    timeout: Duration,
    queue: Mutex<Option<mpsc::Sender<Box<dyn Pending>>>>,
    readers: Mutex<Vec<Connection>>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Sqlite {
    pub(crate) fn open(path: &Path, timeout: Duration, shared: Shared) -> Result<Self> {
        let tx = Tx::new(
            Conn::new(Driver::Sqlite(connect(path, Access::Write, timeout)?)),
            shared,
        );
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || serve(tx, receiver))
            .map_err(internal("starting the writer thread"))?;
        Ok(Self {
            path: path.to_owned(),
            timeout,
            queue: Mutex::new(Some(sender)),
            readers: Mutex::default(),
            writer: Mutex::new(Some(writer)),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn reader(&self) -> Result<Conn> {
        let idle = self.readers.lock().pop();
        let conn = idle.map_or_else(|| connect(&self.path, Access::Read, self.timeout), Ok)?;
        Ok(Conn::new(Driver::Sqlite(conn)))
    }

    pub(crate) fn put_back(&self, conn: Conn) {
        let Driver::Sqlite(conn) = conn.driver else {
            return;
        };
        let mut readers = self.readers.lock();
        if readers.len() < IDLE_READERS {
            readers.push(conn);
        }
    }

    /// A disk that hangs holds up nobody for ever: after its turn came late, a transaction has as long again. It may happen
    /// all the same.
    pub(crate) async fn write<T, F>(&self, actor: Option<Arc<Actor>>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + Sync + 'static,
    {
        tokio::time::timeout(self.timeout * 2, self.write_for_long(actor, work))
            .await
            .map_err(|_| unavailable("the database's writer did not answer in time"))?
    }

    pub(crate) async fn write_for_long<T, F>(&self, actor: Option<Arc<Actor>>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + Sync + 'static,
    {
        let queue = self
            .queue
            .lock()
            .clone()
            .ok_or_else(|| unavailable("the database is closed"))?;
        let (reply, answer) = oneshot::channel();
        let pending = Box::new(Transaction {
            actor,
            work,
            outcome: None,
            reply: Some(reply),
        });
        queue
            .send(pending)
            .await
            .map_err(|_| unavailable("the database's writer has stopped"))?;
        answer
            .await
            .map_err(|_| unavailable("the database's writer has stopped"))?
    }

    pub(crate) async fn close(&self) {
        drop(self.queue.lock().take());
        self.readers.lock().clear();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            // The thread ends when its queue is empty; it holds no other lock.
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
    }
}

fn unavailable(why: &'static str) -> Error {
    Error::Unavailable(anyhow::anyhow!(why))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Opens the file in WAL mode. A commit is durable when it returns: synchronous=FULL syncs the log at each one. Pages are
/// read, not mapped: a disk that fails under a mapping would kill the process.
pub(crate) fn connect(path: &Path, access: Access, timeout: Duration) -> Result<Connection> {
    let flags = match access {
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    };
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(
        |error| {
            Error::Unavailable(
                anyhow::Error::new(error).context(format!("opening `{}`", path.display())),
            )
        },
    )?;
    // Otherwise most plans depend on a bound value and are made again at each run, which costs ten times what the query does.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(sqlite_error)?;
    conn.busy_timeout(timeout).map_err(sqlite_error)?;
    conn.set_prepared_statement_cache_capacity(256);
    if access == Access::Write {
        let mode: String = conn
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(sqlite_error)?;
        if mode != "wal" {
            return Err(unavailable(
                "the file system that holds the database cannot share memory, which SQLite needs for its log",
            ));
        }
        // The log is folded into the file after 16 MB, and does not stay long once it grew.
        conn.execute_batch(
            "PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -8192;",
        )
        .map_err(sqlite_error)?;
    }
    conn.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;",
    )
    .map_err(sqlite_error)?;
    Ok(conn)
}

/// A transaction that waits for the writer, with its type forgotten.
trait Pending: Send {
    /// Runs the work; false when it failed and must be rolled back.
    fn run(&mut self, tx: &mut Tx) -> bool;
    /// Tells the caller; `failed` says why the COMMIT failed, when it did.
    fn answer(&mut self, failed: Option<&Error>);
}

struct Transaction<T, F> {
    actor: Option<Arc<Actor>>,
    work: F,
    outcome: Option<Result<T>>,
    reply: Option<oneshot::Sender<Result<T>>>,
}

impl<T, F> Pending for Transaction<T, F>
where
    T: Send + 'static,
    F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + Sync + 'static,
{
    fn run(&mut self, tx: &mut Tx) -> bool {
        tx.begin(self.actor.as_ref(), None);
        let answer = catch_unwind(AssertUnwindSafe(|| {
            let work = async {
                let value = (self.work)(&mut *tx).await?;
                tx.conn.outcome(Ok(()))?;
                counters::settle(tx).await?;
                Ok(value)
            };
            work.now_or_never().unwrap_or_else(|| {
                Err(Error::Internal(anyhow::anyhow!(
                    "a transaction waited for something other than its connection"
                )))
            })
        }))
        .unwrap_or_else(|_| Err(Error::Internal(anyhow::anyhow!("a transaction panicked"))));
        let outcome = tx.conn.outcome(answer);
        let kept = outcome.is_ok();
        self.outcome = Some(outcome);
        kept
    }

    fn answer(&mut self, failed: Option<&Error>) {
        let outcome = match (failed, self.outcome.take()) {
            (Some(why), Some(Ok(_)) | None) => Err(same(why)),
            (_, Some(outcome)) => outcome,
            (None, None) => Err(unavailable("the transaction did not run")),
        };
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(outcome); // whoever asked may be gone; the work is done all the same
        }
    }
}

/// What everybody of a group is told that was not committed: come again, whatever the cause.
fn same(why: &Error) -> Error {
    match why {
        Error::StorageFull(text) => Error::StorageFull(text.clone()),
        other => Error::Unavailable(anyhow::anyhow!(
            "the transaction was not committed: {other}"
        )),
    }
}

/// The writer thread: takes what waits, runs each in a savepoint, commits once, answers all.
fn serve(mut tx: Tx, mut queue: mpsc::Receiver<Box<dyn Pending>>) {
    let mut group = Vec::with_capacity(GROUP);
    while let Some(first) = queue.blocking_recv() {
        group.push(first);
        while group.len() < GROUP
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        let failed = commit_group(&mut tx, &mut group).err();
        if let Some(error) = &failed {
            tracing::error!(%error, transactions = group.len(), "a group of transactions was not committed");
        }
        // Also after a failure: what was remembered is then merely read again.
        tx.announce();
        for mut pending in group.drain(..) {
            pending.answer(failed.as_ref());
        }
    }
    // No `PRAGMA optimize`: without statistics the plans stay those that the tests explain, however the tables grow.
    if let Driver::Sqlite(conn) = &tx.conn.driver
        && let Err(error) = fold_log(conn)
    {
        tracing::warn!(%error, "the write-ahead log could not be folded into the database");
    }
}

/// The log stays where another process reads it: it is as durable as the file, and the next start folds it.
fn fold_log(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::from_millis(100))?;
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);")
}

fn commit_group(tx: &mut Tx, group: &mut [Box<dyn Pending>]) -> Result<()> {
    execute(tx, "BEGIN IMMEDIATE")?;
    let committed = run_group(tx, group).and_then(|()| execute(tx, "COMMIT"));
    if committed.is_err() {
        let _ = execute(tx, "ROLLBACK"); // fails when SQLite has already rolled back, as it does on a full disk
    }
    committed
}

fn run_group(tx: &mut Tx, group: &mut [Box<dyn Pending>]) -> Result<()> {
    for pending in group {
        execute(tx, "SAVEPOINT one")?;
        if !pending.run(tx) {
            execute(tx, "ROLLBACK TO one")?;
        }
        execute(tx, "RELEASE one")?;
    }
    Ok(())
}

fn execute(tx: &Tx, sql: &'static str) -> Result<()> {
    let Driver::Sqlite(conn) = &tx.conn.driver else {
        return Err(unavailable("not a SQLite connection"));
    };
    conn.prepare_cached(sql)
        .and_then(|mut statement| statement.raw_execute())
        .map(|_| ())
        .map_err(sqlite_error)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_query_is_planned_once_whatever_is_bound() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let conn = connect(
            &dir.path().join("plan.sqlite"),
            Access::Write,
            Duration::from_secs(1),
        )
        .expect("opens");
        conn.execute_batch("CREATE TABLE rows (id INTEGER PRIMARY KEY)")
            .expect("creates");
        let mut statement = conn
            .prepare("SELECT id FROM rows WHERE id > $1 ORDER BY id LIMIT $2")
            .expect("prepares");
        for value in 1..4 {
            for index in 1..=2 {
                statement.raw_bind_parameter(index, value).expect("binds");
            }
            assert!(statement.raw_query().next().expect("runs").is_none());
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
