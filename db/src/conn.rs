//! One connection for both engines. On SQLite a query runs on the calling thread and its future is ready at once; on
//! PostgreSQL it is a round trip. SQL is written once, with numbered `$1` placeholders.

use std::time::{Duration, Instant};

use model::{
    Error, Result,
    error::internal,
    time::{Clock, Timestamp},
};

use crate::{
    errors::sqlite_error,
    postgres,
    value::{Row, Value},
};

/// How long a list may take to put together on SQLite.
const LONGEST: Duration = Duration::from_secs(2);
/// Steps of SQLite's machine between two looks at the time; some milliseconds.
const STEPS: i32 = 50_000;

/// A connection to read with; a [`crate::Tx`] has one too.
pub struct Conn {
    pub(crate) driver: Driver,
    pub(crate) stage: Stage,
}

pub(crate) enum Driver {
    Sqlite(rusqlite::Connection),
    Postgres(postgres::Client),
}

/// Whether statements stand alone or in a transaction. One that failed spoils its transaction on both engines: PostgreSQL
/// would answer COMMIT with a silent rollback, and SQLite may have rolled back already and would go on without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Alone,
    Transaction,
    Spoiled,
}

impl Conn {
    pub(crate) fn new(driver: Driver) -> Self {
        Self {
            driver,
            stage: Stage::Alone,
        }
    }

    /// All rows, each read by `read`.
    pub async fn rows<T: Send>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T> + Send,
    ) -> Result<Vec<T>> {
        self.check()?;
        let outcome = match &mut self.driver {
            Driver::Sqlite(conn) => sqlite_rows(conn, sql, params, usize::MAX, read),
            Driver::Postgres(client) => client.line().rows(sql, params, usize::MAX, read).await,
        };
        self.judge(outcome)
    }

    /// As [`Conn::rows`], for a text that `query.rs` built. There are too many of them to be kept prepared.
    pub(crate) async fn built_rows<T: Send>(
        &mut self,
        sql: &str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T> + Send,
    ) -> Result<Vec<T>> {
        self.check()?;
        let outcome = match &mut self.driver {
            Driver::Sqlite(conn) => sqlite_within(LONGEST, conn, |conn| {
                let mut statement = conn.prepare(sql).map_err(sqlite_error)?;
                run(&mut statement, params, usize::MAX, read)
            }),
            Driver::Postgres(client) => client.line().rows(sql, params, usize::MAX, read).await,
        };
        self.judge(outcome)
    }

    /// The first row, when there is one.
    pub async fn row<T: Send>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T> + Send,
    ) -> Result<Option<T>> {
        self.check()?;
        let outcome = match &mut self.driver {
            Driver::Sqlite(conn) => sqlite_rows(conn, sql, params, 1, read),
            Driver::Postgres(client) => client.line().rows(sql, params, 1, read).await,
        };
        self.judge(outcome).map(|mut rows| rows.pop())
    }

    /// Whether the query has any row.
    pub async fn exists(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<bool> {
        Ok(self.row(sql, params, |_| Ok(())).await?.is_some())
    }

    pub(crate) async fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64> {
        self.check()?;
        let outcome = match &mut self.driver {
            Driver::Sqlite(conn) => sqlite_execute(conn, sql, params),
            Driver::Postgres(client) => client.line().execute(sql, params).await,
        };
        self.judge(outcome)
    }

    /// As [`Conn::rows`], for a text that a move put together, whatever time it takes.
    pub(crate) async fn plain_rows<T: Send>(
        &mut self,
        sql: &str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T> + Send,
    ) -> Result<Vec<T>> {
        self.check()?;
        let outcome = match &mut self.driver {
            Driver::Sqlite(conn) => {
                let mut statement = conn.prepare(sql).map_err(sqlite_error)?;
                run(&mut statement, params, usize::MAX, read)
            }
            Driver::Postgres(client) => client.line().rows(sql, params, usize::MAX, read).await,
        };
        self.judge(outcome)
    }

    /// As [`Conn::execute`], for a text that a move put together.
    pub(crate) async fn plain_execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64> {
        self.check()?;
        let outcome = match &mut self.driver {
            Driver::Sqlite(conn) => {
                let mut statement = conn.prepare(sql).map_err(sqlite_error)?;
                bind(&mut statement, params)?;
                let rows = statement.raw_execute().map_err(sqlite_error)?;
                Ok(rows as u64)
            }
            Driver::Postgres(client) => client.line().execute(sql, params).await,
        };
        self.judge(outcome)
    }

    /// Several statements without parameters, as migrations need them; takes as long as it takes.
    pub(crate) async fn batch(&mut self, sql: &str) -> Result<()> {
        self.check()?;
        let outcome = match &mut self.driver {
            Driver::Sqlite(conn) => conn.execute_batch(sql).map_err(sqlite_error),
            Driver::Postgres(client) => client.line().batch(sql).await,
        };
        self.judge(outcome)
    }

    /// The time as the database tells it, which judges leases, grace and expiry.
    pub async fn now(&mut self, clock: &Clock) -> Result<Timestamp> {
        match &self.driver {
            Driver::Sqlite(_) => Ok(clock.now()),
            Driver::Postgres(_) => {
                let now = self.row(postgres::NOW, &[], |row| row.int(0)).await?;
                Ok(Timestamp(now.unwrap_or_default() + clock.shift()))
            }
        }
    }

    /// True on PostgreSQL, where a few statements must lock what SQLite's single writer need not.
    pub fn locks_rows(&self) -> bool {
        matches!(self.driver, Driver::Postgres(_))
    }

    fn check(&self) -> Result<()> {
        match self.stage {
            Stage::Alone | Stage::Transaction => Ok(()),
            Stage::Spoiled => Err(Error::Internal(anyhow::anyhow!(
                "a transaction went on after a statement of it had failed"
            ))),
        }
    }

    fn judge<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() && self.stage == Stage::Transaction {
            self.stage = Stage::Spoiled;
        }
        outcome
    }

    /// What a closure answered, unless a statement failed that it did not mind.
    pub(crate) fn outcome<T>(&self, answer: Result<T>) -> Result<T> {
        answer.and_then(|value| self.check().map(|()| value))
    }
}

/// A query that a client put together may be a costly one, and it runs on a thread that serves others too.
fn sqlite_within<T>(
    longest: Duration,
    conn: &mut rusqlite::Connection,
    work: impl FnOnce(&rusqlite::Connection) -> Result<T>,
) -> Result<T> {
    let began = Instant::now();
    conn.progress_handler(STEPS, Some(move || began.elapsed() > longest))
        .map_err(sqlite_error)?;
    let outcome = work(conn);
    conn.progress_handler(0, None::<fn() -> bool>)
        .map_err(sqlite_error)?;
    outcome
}

fn sqlite_rows<T>(
    conn: &rusqlite::Connection,
    sql: &'static str,
    params: &[Value<'_>],
    most: usize,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = conn.prepare_cached(sql).map_err(sqlite_error)?;
    run(&mut statement, params, most, read)
}

fn run<T>(
    statement: &mut rusqlite::Statement<'_>,
    params: &[Value<'_>],
    most: usize,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    bind(statement, params)?;
    let (mut rows, mut all) = (statement.raw_query(), Vec::new());
    // Always run to the end, so that an error that comes late is not missed.
    while let Some(row) = rows.next().map_err(sqlite_error)? {
        if all.len() < most {
            all.push(read(&Row::Sqlite(row))?);
        }
    }
    Ok(all)
}

fn sqlite_execute(
    conn: &rusqlite::Connection,
    sql: &'static str,
    params: &[Value<'_>],
) -> Result<u64> {
    let mut statement = conn.prepare_cached(sql).map_err(sqlite_error)?;
    bind(&mut statement, params)?;
    statement
        .raw_execute()
        .map(|rows| rows as u64)
        .map_err(sqlite_error)
}

/// SQLite numbers `$…` names in order of appearance; ours are numbers, so each is bound to what it says.
fn bind(statement: &mut rusqlite::Statement<'_>, params: &[Value<'_>]) -> Result<()> {
    for index in 1..=statement.parameter_count() {
        let name = statement.parameter_name(index).unwrap_or_default();
        let number: usize = name
            .trim_start_matches('$')
            .parse()
            .map_err(internal("a placeholder is not `$` and a number"))?;
        let value = params.get(number.wrapping_sub(1));
        let value = value
            .ok_or_else(|| Error::Internal(anyhow::anyhow!("no value for placeholder `{name}`")))?;
        statement
            .raw_bind_parameter(index, value)
            .map_err(sqlite_error)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_takes_too_long_is_given_up() {
        let mut conn = rusqlite::Connection::open_in_memory().expect("opens");
        let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n";
        let given_up = sqlite_within(Duration::from_millis(50), &mut conn, |conn| {
            let mut statement = conn.prepare(endless).map_err(sqlite_error)?;
            run(&mut statement, &[], 1, |row| row.int(0))
        });
        assert!(matches!(given_up, Err(Error::Invalid(..))), "{given_up:?}");
        let mut next = conn.prepare("SELECT 1").expect("prepares");
        assert_eq!(run(&mut next, &[], 1, |row| row.int(0)).expect("runs"), [1]);
    }
}
