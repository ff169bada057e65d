//! Every table, every SQL text, every migration; SQLite and PostgreSQL behind one connection type.
//! The caller owns the transaction: table functions take `&mut Conn` to read and `&mut Tx` to write.

pub mod conn;
mod dialect;
mod errors;
pub mod generations;
pub mod last_known;
pub mod migrate;
pub mod moving;
mod postgres;
pub mod query;
mod sqlite;
pub mod tx;
pub mod value;

pub mod activity;
pub mod artifacts;
pub mod audit;
pub mod blobs;
pub mod changes;
pub mod consistency;
pub mod counters;
pub mod cursors;
pub mod cve_allowlists;
pub mod described;
pub mod facts;
pub mod failover;
pub mod icons;
pub mod immutable;
pub mod imported;
pub mod jobs;
pub mod keys;
pub mod labels;
pub mod leases;
pub mod links;
pub mod login_failures;
pub mod members;
pub mod nodes;
pub mod password_resets;
pub mod project_metadata;
pub mod projects;
pub mod quotas;
pub mod recount;
pub mod replicas;
pub mod repositories;
pub mod retention;
pub mod rights;
pub mod robots;
pub mod schedules;
pub mod sessions;
pub mod settings;
pub mod store_id;
pub mod tags;
pub mod trash;
pub mod uploads;
pub mod user_groups;
pub mod users;

pub use conn::Conn;
pub use tx::Tx;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use generations::Generations;
use last_known::{LastKnown, Reach};
use model::{
    Result,
    actor::Actor,
    settings::{Pinned, Settings},
    time::{Clock, Hlc, Timestamp},
};
use outbound::Trust;
use tokio::sync::{RwLock, watch};

/// How long a trivial query may take.
const PING: Duration = Duration::from_secs(4);

/// Where the database is and how many connections it may have.
#[derive(Debug, Clone)]
pub struct Config {
    pub engine: Engine,
    /// The name of this node: it stands in tags and changes as their origin.
    pub node: String,
    /// PostgreSQL: how many writing transactions may run at once. SQLite has one writer whatever this says.
    pub pool_size: usize,
    /// How long a caller waits for a connection or the writer before the answer is 503.
    pub timeout: Duration,
    /// Settings that the configuration says, over what the database keeps.
    pub pinned: Pinned,
    /// PostgreSQL over TLS: whom to believe when the URL names no authorities of its own.
    pub trust: Trust,
    pub ways: Ways,
}

/// How a PostgreSQL server is reached, beside its URL.
#[derive(Debug, Clone, Default)]
pub struct Ways {
    /// A URL past a pooler that keeps no sessions, for what needs one: LISTEN, and indexes that are built beside writers.
    pub direct: Option<String>,
    /// Holds the password; read for each connection, so that a new one counts without a restart.
    pub password_file: Option<PathBuf>,
    /// How long what was read last is served while the server is away; zero: not at all.
    pub stale: Duration,
}

#[derive(Debug, Clone)]
pub enum Engine {
    /// A file on a local file system.
    Sqlite(PathBuf),
    /// A URL or a key-value string as libpq takes it; several hosts are allowed, always the writable one is used.
    Postgres(String),
}

/// The database. A clone is another handle on the same connections.
#[derive(Clone)]
pub struct Db(Arc<Inner>, Use, Option<Arc<Actor>>, Away);

/// What a handle does while the server is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    /// Everything is unavailable.
    Waits,
    /// What was read last is answered.
    Serves,
}

/// Who asks. On PostgreSQL each has connections of its own, so that neither waits behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Requests,
    Background,
}

struct Inner {
    /// Another one once the database was moved.
    engine: ArcSwap<Opened>,
    /// Held by each writing transaction, and by a move when it comes to its end.
    gate: Arc<RwLock<()>>,
    /// Told when the engine is another one.
    switched: watch::Sender<u64>,
    shared: Shared,
    settings: settings::Remembered,
    last_settings: LastKnown<(), Arc<Settings>>,
    reach: Reach,
    stale: Duration,
}

enum Opened {
    Sqlite(sqlite::Sqlite),
    Postgres(Box<postgres::Postgres>),
}

/// What every transaction needs beside its connection.
#[derive(Clone)]
struct Shared {
    node: Arc<str>,
    system: Arc<Actor>,
    pinned: Arc<Pinned>,
    clock: Clock,
    hlc: Arc<Hlc>,
    generations: Arc<Generations>,
    job_waiting: Arc<tokio::sync::Notify>,
    /// Whether other nodes are heard when they enqueue something.
    hears_jobs: Arc<AtomicBool>,
    journal: Arc<failover::Journal>,
}

/// Who begins a transaction on PostgreSQL, and what it needs.
struct By {
    shared: Shared,
    who: Use,
    actor: Option<Arc<Actor>>,
}

/// A connection to read with; goes back to its pool when dropped.
pub struct Reader {
    conn: Option<Conn>,
    engine: Arc<Opened>,
}

impl Db {
    /// Opens the database as it is, without migrating it: see [`migrate::up`].
    pub async fn open(config: &Config, clock: Clock) -> Result<Self> {
        let shared = Shared {
            node: config.node.as_str().into(),
            system: Arc::new(Actor::new(Actor::SYSTEM, None)),
            pinned: Arc::new(config.pinned.clone()),
            clock,
            hlc: Arc::default(),
            generations: Arc::default(),
            job_waiting: Arc::default(),
            hears_jobs: Arc::default(),
            journal: Arc::default(),
        };
        Self::open_with(config, shared).await
    }

    async fn open_with(config: &Config, shared: Shared) -> Result<Self> {
        let engine = match &config.engine {
            Engine::Sqlite(path) => {
                Opened::Sqlite(sqlite::Sqlite::open(path, config.timeout, shared.clone())?)
            }
            Engine::Postgres(url) => {
                Opened::Postgres(Box::new(postgres::Postgres::open(url, config).await?))
            }
        };
        let db = Self(
            Arc::new(Inner {
                engine: ArcSwap::from_pointee(engine),
                gate: Arc::default(),
                switched: watch::Sender::new(0),
                shared,
                settings: settings::Remembered::default(),
                last_settings: LastKnown::new(1),
                reach: Reach::default(),
                stale: config.ways.stale,
            }),
            Use::Requests,
            None,
            Away::Waits,
        );
        let mut reader = db.reader().await?;
        if migrate::current(&mut reader).await? > 0 {
            // The wall clock may have gone back while this node was down.
            db.0.shared
                .hlc
                .witness(changes::newest_clock(&mut reader).await?);
        }
        drop(reader);
        Ok(db)
    }

    /// The same database for jobs and commands: long reads and many small writes that no request should wait for.
    #[must_use]
    pub fn in_background(&self) -> Self {
        Self(self.0.clone(), Use::Background, self.2.clone(), Away::Waits)
    }

    /// The same database for somebody: what is written through this handle is told of him. Without one it is the system.
    #[must_use]
    pub fn by(&self, actor: Arc<Actor>) -> Self {
        Self(self.0.clone(), self.1, Some(actor), self.3)
    }

    /// The same database for whoever pulls: while the server is away, what was read last will do ([`last_known`]). Never for
    /// somebody who is about to change something.
    #[must_use]
    pub fn or_last_known(&self) -> Self {
        Self(self.0.clone(), self.1, self.2.clone(), Away::Serves)
    }

    /// A connection to read with. On SQLite its queries run on the calling thread.
    pub async fn reader(&self) -> Result<Reader> {
        let engine = self.0.engine.load_full();
        let conn = match &*engine {
            Opened::Sqlite(sqlite) => sqlite.reader()?,
            Opened::Postgres(postgres) => postgres.reader(self.1).await?,
        };
        Ok(Reader {
            conn: Some(conn),
            engine,
        })
    }

    /// Runs a writing transaction and answers when it is durable. The closure waits for nothing but its connection. It
    /// may run more than once (PostgreSQL repeats what lost to a concurrent writer), and runs to its end also when the
    /// caller has gone away, or was told after `Config::timeout` that the database is not there. When it fails nothing of it
    /// remains.
    pub async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + Sync + 'static,
    {
        let work = moving::held(self.0.enter().await?, work);
        match &*self.0.engine.load_full() {
            Opened::Sqlite(sqlite) => sqlite.write(self.2.clone(), work).await,
            Opened::Postgres(postgres) => {
                let by = By {
                    shared: self.0.shared.clone(),
                    who: self.1,
                    actor: self.2.clone(),
                };
                let written = postgres.write(by, work).await;
                if written.is_ok() {
                    self.0.reach.set_away(false);
                }
                written
            }
        }
    }

    /// As [`Db::write`], for what takes as long as it takes.
    pub(crate) async fn write_for_long<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + Sync + 'static,
    {
        if !self.is_exclusive() {
            return self.write(work).await;
        }
        let work = moving::held(self.0.enter().await?, work);
        match &*self.0.engine.load_full() {
            Opened::Sqlite(sqlite) => sqlite.write_for_long(self.2.clone(), work).await,
            Opened::Postgres(_) => unreachable!("nothing is moved at the start"),
        }
    }

    /// True when no other process writes this database, so that what was read may be remembered until a write changes it.
    pub fn is_exclusive(&self) -> bool {
        matches!(**self.0.engine.load(), Opened::Sqlite(_))
    }

    /// How long what was read last is kept; none where the database cannot be away, being a file of this node.
    fn stale_for(&self) -> Option<Duration> {
        (!self.is_exclusive() && !self.0.stale.is_zero()).then_some(self.0.stale)
    }

    /// How long what was read last will do for whoever has this handle, now that the server is away; none while it is not.
    pub fn away_for(&self) -> Option<Duration> {
        let stale = self.stale_for()?;
        (self.3 == Away::Serves && self.0.reach.is_away()).then_some(stale)
    }

    fn journal(&self) -> &failover::Journal {
        &self.0.shared.journal
    }

    fn reach(&self) -> &Reach {
        &self.0.reach
    }

    /// How many answers were what was read last, since the database was away.
    pub fn stale_answers(&self) -> u64 {
        self.0.reach.answers()
    }

    /// What invalidates remembered reads.
    pub fn generations(&self) -> &Generations {
        &self.0.shared.generations
    }

    /// The settings as they are now. Cheap where they may be remembered, else one query.
    pub async fn settings(&self) -> Result<Arc<Settings>> {
        let generation = self.generations().rights();
        let remembered = self.is_exclusive().then(|| self.0.settings.get(generation));
        if let Some(settings) = remembered.flatten() {
            return Ok(settings);
        }
        let read = async || {
            let read = settings::load(&mut *self.reader().await?, &self.0.shared.pinned).await?;
            Ok(Some(Arc::new(read)))
        };
        let read = self.0.last_settings.read(self, &(), || (), read).await?;
        let read = read.expect("there are always settings");
        if self.is_exclusive() {
            self.0.settings.keep(generation, &read);
        }
        Ok(read)
    }

    /// Hears what other nodes enqueue, until it is dropped. Where there are none, that may change (see [`moving`]).
    pub async fn hear_jobs(&self) {
        let mut switched = self.0.switched.subscribe();
        loop {
            let engine = self.0.engine.load_full();
            let shared = &self.0.shared;
            let hear = async {
                match &*engine {
                    Opened::Postgres(postgres) => {
                        let (waiting, hears) = (&shared.job_waiting, &shared.hears_jobs);
                        postgres.hear_jobs(waiting, hears).await;
                    }
                    Opened::Sqlite(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                () = hear => return,
                _ = switched.changed() => shared.hears_jobs.store(false, Ordering::Relaxed),
            }
        }
    }

    /// Whether [`Db::job_waiting`] tells of every job that is enqueued, wherever that is.
    pub fn hears_all_jobs(&self) -> bool {
        self.is_exclusive() || self.0.shared.hears_jobs.load(Ordering::Relaxed)
    }

    /// Wakes whoever runs jobs on this node when a job was enqueued here, or on a node that is heard.
    pub fn job_waiting(&self) -> &tokio::sync::Notify {
        &self.0.shared.job_waiting
    }

    pub fn node(&self) -> &str {
        &self.0.shared.node
    }

    pub fn clock(&self) -> &Clock {
        &self.0.shared.clock
    }

    /// The time as the database tells it, which judges leases, grace and expiry.
    pub async fn now(&self) -> Result<Timestamp> {
        self.reader().await?.now(self.clock()).await
    }

    /// Short name of the engine for logs and `seawall check`.
    pub fn engine(&self) -> &'static str {
        match **self.0.engine.load() {
            Opened::Sqlite(_) => "sqlite",
            Opened::Postgres(_) => "postgres",
        }
    }

    /// Answers when a trivial query does; an error says why the database cannot be used.
    pub async fn ping(&self) -> Result<()> {
        let answer = tokio::time::timeout(PING, self.ask()).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(model::Error::Unavailable(anyhow::anyhow!(
                "no answer within {PING:?}"
            )))
        });
        let is_away = matches!(answer, Err(model::Error::Unavailable(_)));
        self.0.reach.set_away(is_away);
        answer
    }

    /// On the shared connection, or where that is busy, on one of its own: a long read is no sign of a server that is away.
    async fn ask(&self) -> Result<()> {
        let shared = async {
            let mut reader = self.reader().await?;
            reader.exists("SELECT 1", &[]).await
        };
        let answered = tokio::time::timeout(PING / 4, shared).await;
        match (answered, &*self.0.engine.load_full()) {
            (Ok(Ok(_)), _) => Ok(()),
            (Ok(Err(error)), Opened::Sqlite(_)) => Err(error),
            (Err(_), Opened::Sqlite(_)) => self.reader().await.map(|_| ()),
            (_, Opened::Postgres(postgres)) => postgres.try_anew().await,
        }
    }

    /// Waits for running transactions, then lets go of the connections. On SQLite the log is folded into the file.
    pub async fn close(&self) {
        self.0.engine.load_full().close().await;
    }
}

impl Opened {
    async fn close(&self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.close().await,
            Self::Postgres(postgres) => postgres.close().await,
        }
    }
}

impl std::ops::Deref for Reader {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        self.conn.as_ref().expect("present until dropped")
    }
}

impl std::ops::DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("present until dropped")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let (Some(conn), Opened::Sqlite(sqlite)) = (self.conn.take(), &*self.engine) {
            sqlite.put_back(conn);
        }
    }
}
