//! One connection and one transaction for both engines. On SQLite a query runs on the calling thread and its future is
//! ready at once; on PostgreSQL it is a round trip. SQL is written once, with numbered `$1` placeholders.

use std::{ops, sync::Arc};

use model::{
    Error, Result,
    error::internal,
    time::{Clock, Timestamp},
};
use tokio_postgres::types::{ToSql, Type};

use crate::{
    Shared,
    generations::Touch,
    value::{Row, Value},
};

/// A connection to one of the engines.
pub enum Conn {
    Sqlite(rusqlite::Connection),
    Postgres(PostgresClient),
}

/// A client of PostgreSQL: shared by readers (their queries are pipelined), or taken from the pool by one writer.
pub enum PostgresClient {
    Shared(Arc<tokio_postgres::Client>),
    Pooled(deadpool_postgres::Object),
}

impl ops::Deref for PostgresClient {
    type Target = tokio_postgres::Client;
    fn deref(&self) -> &tokio_postgres::Client {
        match self {
            Self::Shared(client) => client,
            Self::Pooled(object) => object,
        }
    }
}

/// A writing transaction. It reads as a `Conn` does; what it makes out of date it says with [`Tx::touch`].
pub struct Tx {
    pub(crate) conn: Conn,
    pub(crate) touched: Vec<Touch>,
    pub(crate) wakes_jobs: bool,
    pub(crate) shared: Shared,
}

impl Conn {
    /// All rows, each read by `read`.
    pub async fn rows<T: Send>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T> + Send,
    ) -> Result<Vec<T>> {
        match self {
            Self::Sqlite(conn) => sqlite_rows(conn, sql, params, usize::MAX, read),
            Self::Postgres(client) => {
                let rows = client.query_typed(sql, &typed(params)).await.map_err(postgres_error)?;
                rows.iter().map(|row| read(&Row::Postgres(row))).collect()
            }
        }
    }

    /// The first row, when there is one.
    pub async fn row<T: Send>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T> + Send,
    ) -> Result<Option<T>> {
        match self {
            Self::Sqlite(conn) => Ok(sqlite_rows(conn, sql, params, 1, read)?.pop()),
            Self::Postgres(client) => {
                let rows = client.query_typed(sql, &typed(params)).await.map_err(postgres_error)?;
                rows.first().map(|row| read(&Row::Postgres(row))).transpose()
            }
        }
    }

    /// Whether the query has any row.
    pub async fn exists(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<bool> {
        Ok(self.row(sql, params, |_| Ok(())).await?.is_some())
    }

    /// Runs a statement that gives no rows; answers how many rows it changed.
    pub async fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64> {
        match self {
            Self::Sqlite(conn) => {
                let mut statement = conn.prepare_cached(sql).map_err(sqlite_error)?;
                bind(&mut statement, params)?;
                statement.raw_execute().map(|rows| rows as u64).map_err(sqlite_error)
            }
            Self::Postgres(client) => client.execute_typed(sql, &typed(params)).await.map_err(postgres_error),
        }
    }

    /// Several statements without parameters, as migrations and BEGIN need.
    pub(crate) async fn batch(&mut self, sql: &str) -> Result<()> {
        match self {
            Self::Sqlite(conn) => conn.execute_batch(sql).map_err(sqlite_error),
            Self::Postgres(client) => client.batch_execute(sql).await.map_err(postgres_error),
        }
    }

    pub(crate) async fn now(&mut self, clock: &Clock) -> Result<Timestamp> {
        match self {
            Self::Sqlite(_) => Ok(clock.now()),
            Self::Postgres(_) => {
                const SQL: &str = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT";
                let now = self.row(SQL, &[], |row| row.int(0)).await?;
                Ok(Timestamp(now.unwrap_or_default() + clock.shift()))
            }
        }
    }

    /// True on PostgreSQL, where a few statements must lock what SQLite's single writer need not.
    pub fn locks_rows(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

impl Tx {
    /// The time as the database tells it: the machine's on SQLite, the server's on PostgreSQL.
    pub async fn now(&mut self) -> Result<Timestamp> {
        let clock = self.shared.clock.clone();
        self.conn.now(&clock).await
    }

    /// The next reading of the hybrid logical clock, greater than `after`.
    pub async fn next_clock(&mut self, after: i64) -> Result<i64> {
        let now = self.now().await?;
        self.shared.hlc.witness(after);
        Ok(self.shared.hlc.next(now))
    }

    /// The name of the node that writes.
    pub fn node(&self) -> Arc<str> {
        self.shared.node.clone()
    }

    /// Says what this transaction makes out of date, once it is committed.
    pub fn touch(&mut self, touch: Touch) {
        if !self.touched.contains(&touch) {
            self.touched.push(touch);
        }
    }

    /// Says that a job was enqueued, so that a runner looks once this is committed.
    pub fn wake_jobs(&mut self) {
        self.wakes_jobs = true;
    }

    /// After COMMIT, and before anybody is answered.
    pub(crate) fn announce(&mut self) {
        for touch in self.touched.drain(..) {
            self.shared.generations.touch(touch);
        }
        if std::mem::take(&mut self.wakes_jobs) {
            self.shared.job_waiting.notify_one();
        }
    }
}

impl ops::Deref for Tx {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl ops::DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

fn sqlite_rows<T>(
    conn: &rusqlite::Connection,
    sql: &'static str,
    params: &[Value<'_>],
    most: usize,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = conn.prepare_cached(sql).map_err(sqlite_error)?;
    bind(&mut statement, params)?;
    let (mut rows, mut all) = (statement.raw_query(), Vec::new());
    // Always run to the end: a statement with RETURNING that is left half way has not done its work.
    while let Some(row) = rows.next().map_err(sqlite_error)? {
        if all.len() < most {
            all.push(read(&Row::Sqlite(row))?);
        }
    }
    Ok(all)
}

/// SQLite numbers `$…` names in order of appearance; ours are numbers, so each is bound to what it says.
fn bind(statement: &mut rusqlite::CachedStatement<'_>, params: &[Value<'_>]) -> Result<()> {
    for index in 1..=statement.parameter_count() {
        let name = statement.parameter_name(index).unwrap_or_default();
        let number: usize = name.trim_start_matches('$').parse().map_err(internal("a placeholder is not `$` and a number"))?;
        let value = params.get(number.wrapping_sub(1));
        let value = value.ok_or_else(|| Error::Internal(anyhow::anyhow!("no value for placeholder `{name}`")))?;
        statement.raw_bind_parameter(index, value).map_err(sqlite_error)?;
    }
    Ok(())
}

fn typed<'a>(params: &'a [Value<'a>]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    params.iter().map(|value| (value as &(dyn ToSql + Sync), value.postgres_type())).collect()
}

/// A full disk is said as such; a file that cannot be read or is held by another is a matter of time; the rest is our fault.
pub(crate) fn sqlite_error(error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            Error::StorageFull("the disk that holds the database is full: delete something or make room".to_owned())
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => {
            Error::Unavailable(anyhow::Error::new(error).context("sqlite"))
        }
        _ => Error::Internal(anyhow::Error::new(error).context("sqlite")),
    }
}

/// A server that is away, starting, stopping, read-only or out of connections is a matter of time; the rest is our fault.
pub(crate) fn postgres_error(error: tokio_postgres::Error) -> Error {
    let away = match error.as_db_error() {
        None => error.is_closed() || std::error::Error::source(&error).is_some_and(|source| source.is::<std::io::Error>()),
        Some(answer) => {
            let code = answer.code().code();
            code.starts_with("08") || code.starts_with("57P") || code.starts_with("53") || code == "25006"
        }
    };
    let error = anyhow::Error::new(error).context("postgres");
    if away { Error::Unavailable(error) } else { Error::Internal(error) }
}

/// Whether the transaction lost to a concurrent one and may simply be repeated (serialization failure, deadlock).
pub(crate) fn is_repeatable(error: &Error) -> bool {
    let (Error::Internal(cause) | Error::Unavailable(cause)) = error else { return false };
    cause
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(tokio_postgres::Error::code)
        .is_some_and(|code| matches!(code.code(), "40001" | "40P01"))
}
