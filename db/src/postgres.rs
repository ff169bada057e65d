//! PostgreSQL: readers share pipelined connections, writers take one each from a small pool. Statements are sent unnamed
//! with their types (one round trip), and nothing outlives a transaction, so that pgbouncer in transaction mode is no obstacle.

mod address;
mod ears;
mod line;
mod pool;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use model::{Error, Result, time::Timestamp};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use self::{
    address::Address,
    line::Line,
    pool::{Own, Pool},
};
use crate::{
    By, Config, Conn, Tx, Use,
    conn::Driver,
    counters,
    errors::{is_read_only, is_repeatable},
};

/// Connections that the readers among the requests share; jobs have one of their own.
const READERS: usize = 2;
/// Writers among the jobs at once.
const JOB_WRITERS: usize = 4;
/// Connections past a pooler at once.
const SESSIONS: usize = 2;
/// The oldest version that is supported, as its server counts it.
const OLDEST: i64 = 130_000;
/// A transaction that lost to a concurrent one is repeated this often.
const ATTEMPTS: u32 = 5;
/// Connections that may turn out to be dead when a transaction wants to begin, as after a restart of the server.
const STALE: usize = 4;
/// Microseconds since 1970, as the server's clock tells them.
pub(crate) const NOW: &str = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT";

/// A shared connection, made anew when it is lost.
type Slot = tokio::sync::Mutex<Option<Arc<Line>>>;

pub(crate) struct Postgres {
    address: Arc<Address>,
    /// The same server past a pooler, where one is in between.
    direct: Arc<Address>,
    pool: Arc<Pool>,
    job_pool: Arc<Pool>,
    /// For what needs a session.
    sessions: Arc<Pool>,
    readers: [Slot; READERS],
    job_reader: Slot,
    turn: AtomicUsize,
    tasks: TaskTracker,
    patience: Duration,
}

/// A connection: shared by readers (their queries are pipelined), or taken from the pool by one writer.
pub(crate) enum Client {
    Shared(Arc<Line>),
    Own(Own),
}

impl Client {
    pub(crate) fn line(&self) -> &Line {
        match self {
            Self::Shared(line) => line,
            Self::Own(own) => own.line(),
        }
    }
}

impl Postgres {
    pub(crate) async fn open(url: &str, config: &Config) -> Result<Self> {
        let tasks = TaskTracker::new();
        let address = |key, url| Address::parse(key, url, config, tasks.clone()).map(Arc::new);
        let through = address("database.url", url)?;
        let direct = match &config.ways.direct {
            Some(url) => address("database.direct_url", url)?,
            None => through.clone(),
        };
        let opened = Self {
            pool: Pool::new(through.clone(), config.pool_size, config.timeout),
            job_pool: Pool::new(through.clone(), JOB_WRITERS, config.timeout),
            sessions: Pool::new(direct.clone(), SESSIONS, config.timeout),
            address: through,
            direct,
            readers: Default::default(),
            job_reader: Slot::default(),
            turn: AtomicUsize::new(0),
            tasks,
            patience: config.timeout,
        };
        opened.refuse_old().await?;
        if config.ways.direct.is_some() {
            opened.expect_same().await?;
        }
        Ok(opened)
    }

    /// A shared connection; queries of several readers are pipelined on it.
    pub(crate) async fn reader(&self, who: Use) -> Result<Conn> {
        let slot = match who {
            Use::Requests => &self.readers[self.turn.fetch_add(1, Ordering::Relaxed) % READERS],
            Use::Background => &self.job_reader,
        };
        // The time-out holds for those too who wait while another connects.
        let line = tokio::time::timeout(self.patience, async {
            let mut slot = slot.lock().await;
            if let Some(line) = slot.as_ref().filter(|line| line.is_usable()) {
                return Ok(line.clone());
            }
            let line = Arc::new(self.address.connect().await?);
            *slot = Some(line.clone());
            Ok::<_, Error>(line)
        })
        .await
        .map_err(|_| no_answer(self.patience))??;
        Ok(Conn::new(Driver::Postgres(Client::Shared(line))))
    }

    /// A connection for what cannot stand in a transaction.
    pub(crate) async fn alone(&self) -> Result<Conn> {
        let own = self.sessions.take().await?;
        Ok(Conn::new(Driver::Postgres(Client::Own(own))))
    }

    /// Whether the server lets in somebody new and answers him.
    pub(crate) async fn try_anew(&self) -> Result<()> {
        let line = self.address.connect().await?;
        line.batch("SELECT 1").await
    }

    /// Older servers lack what is used here, and would say so in the middle of something.
    async fn refuse_old(&self) -> Result<()> {
        let mut conn = self.reader(Use::Requests).await?;
        let told = conn
            .row(
                "SELECT current_setting('server_version_num')::BIGINT, current_setting('server_version')",
                &[],
                |row| Ok((row.int(0)?, row.text(1)?)),
            )
            .await?;
        match told {
            Some((number, version)) if number < OLDEST => Err(Error::Precondition(format!(
                "PostgreSQL {version} is too old: use version 13 or newer"
            ))),
            _ => Ok(()),
        }
    }

    /// Both ways must lead to one database: what is locked on the one is seen on the other.
    async fn expect_same(&self) -> Result<()> {
        let mut direct = self.alone().await?;
        let mut through = self.reader(Use::Requests).await?;
        let (here, there) = (identify(&mut direct).await?, identify(&mut through).await?);
        if here == there {
            return Ok(());
        }
        Err(Error::Precondition(format!(
            "database.url and database.direct_url lead to two databases (`{}` and `{}`): correct one of them",
            there.0, here.0
        )))
    }

    pub(crate) async fn write<T, F>(&self, by: By, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + Sync + 'static,
    {
        let pool = match by.who {
            Use::Requests => self.pool.clone(),
            Use::Background => self.job_pool.clone(),
        };
        let patience = self.patience;
        // In a task of its own: a caller that goes away does not stop a transaction that began.
        let task = self.tasks.spawn(async move {
            let mut attempt = 1;
            loop {
                match transact(&pool, patience, &by, &work).await {
                    Err(error) if is_repeatable(&error) && attempt < ATTEMPTS => {
                        tokio::time::sleep(Duration::from_millis(5 << attempt)).await;
                        attempt += 1;
                    }
                    Err(error) if is_repeatable(&error) => {
                        return Err(Error::Unavailable(anyhow::anyhow!(
                            "still in conflict after {ATTEMPTS} attempts: {error}"
                        )));
                    }
                    outcome => return outcome,
                }
            }
        });
        let outcome = task
            .await
            .map_err(|error| Error::Internal(anyhow::anyhow!("a transaction panicked: {error}")))?;
        if outcome.as_ref().is_err_and(is_read_only) {
            self.forget_readers();
        }
        outcome
    }

    /// The server that they are connected to is not the primary any more.
    fn forget_readers(&self) {
        for slot in self.readers.iter().chain([&self.job_reader]) {
            if let Ok(mut slot) = slot.try_lock() {
                slot.take();
            }
        }
    }

    /// Hears from other nodes that jobs wait, and tells it here, until it is dropped. `hears` is true while that is sure to work.
    pub(crate) async fn hear_jobs(&self, waiting: &Notify, hears: &AtomicBool) {
        ears::hear(&self.direct, &self.address, self.patience, waiting, hears).await;
    }

    pub(crate) async fn close(&self) {
        self.tasks.close();
        self.pool.close();
        self.job_pool.close();
        self.sessions.close();
        for slot in self.readers.iter().chain([&self.job_reader]) {
            slot.lock().await.take();
        }
        // Connections end when their clients are gone; a hung server must not hold up the shutdown.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.tasks.wait()).await;
    }
}

/// The database's name and what tells it from others of that name, also of a copy of its server's files.
async fn identify(conn: &mut Conn) -> Result<(String, String)> {
    let found = conn
        .row(
            "SELECT current_database(), d.oid || ' ' || pg_postmaster_start_time() FROM pg_database d WHERE d.datname = current_database()",
            &[],
            |row| Ok((row.text(0)?, row.text(1)?)),
        )
        .await?;
    found.ok_or_else(|| Error::Internal(anyhow::anyhow!("the database does not know itself")))
}

fn no_answer(patience: Duration) -> Error {
    Error::Unavailable(anyhow::anyhow!(
        "PostgreSQL did not answer within {patience:?}"
    ))
}

async fn transact<T, F>(pool: &Arc<Pool>, patience: Duration, by: &By, work: &F) -> Result<T>
where
    F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T>>,
{
    // Whatever leaves this function without COMMIT or ROLLBACK closes the connection, and so does a panic.
    let (own, now) = begin(pool, patience).await?;
    let mut tx = Tx::new(
        Conn::new(Driver::Postgres(Client::Own(own))),
        by.shared.clone(),
    );
    let now = Timestamp(now.0 + by.shared.clock.shift());
    tx.begin(by.actor.as_ref(), Some(now));
    let answer = work(&mut tx).await;
    let outcome = match tx.conn.outcome(answer) {
        Ok(value) => last_words(&mut tx).await.map(|last| (value, last)),
        Err(error) => Err(error),
    };
    let Driver::Postgres(Client::Own(own)) = &mut tx.conn.driver else {
        unreachable!("taken from the pool above")
    };
    if outcome.as_ref().is_err_and(is_read_only) {
        // It was the primary once: the next connection looks for the one that is now.
        own.line().give_up();
    }
    let ended = match &outcome {
        Ok((_, Some(last))) => own.commit_with(last).await,
        Ok((_, None)) => own.end("COMMIT").await,
        Err(_) => own.end("ROLLBACK").await,
    };
    if outcome.is_ok() {
        tx.announce();
        if ended.is_ok() {
            tx.acknowledge();
        }
    }
    // A COMMIT without an answer may have happened or not: the caller repeats its request, which is harmless.
    outcome.and_then(|(value, _)| ended.map(|()| value))
}

/// What is written just before the COMMIT; the last of it is answered, to go together with that.
async fn last_words(tx: &mut Tx) -> Result<Option<counters::Flush>> {
    let last = counters::settle(tx).await?;
    if tx.wakes_jobs() {
        tx.batch(ears::TELL).await?;
    }
    Ok(last)
}

/// A connection in a transaction, and the server's time. READ COMMITTED whatever the server's default is: a statement
/// after a lock must see what was committed while it was waited for. The limits let go of the locks of a node that froze.
async fn begin(pool: &Arc<Pool>, patience: Duration) -> Result<(Own, Timestamp)> {
    let limit = patience.as_millis().max(1);
    let sql = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {limit}; \
         SET LOCAL idle_in_transaction_session_timeout = {limit}; {NOW}"
    );
    let begun = async {
        let mut stale = 0;
        loop {
            let mut own = pool.take().await?;
            match own.begin(&sql).await {
                Ok(now) => return Ok((own, now)),
                Err(Error::Unavailable(_)) if stale < STALE && own.was_idle() => stale += 1,
                Err(error) => return Err(error),
            }
        }
    };
    tokio::time::timeout(patience, begun)
        .await
        .map_err(|_| no_answer(patience))?
}
