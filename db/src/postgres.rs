//! PostgreSQL: readers share pipelined connections, writers take one each from a small pool. Statements are sent unnamed
//! with their types (one round trip), so that pgbouncer in transaction mode is no obstacle.

use std::{str::FromStr, sync::Arc, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Timeouts};
use futures_util::future::BoxFuture;
use model::{Error, Result, error::internal};
use parking_lot::Mutex;
use tokio_postgres::{Client, NoTls, config::{SslMode, TargetSessionAttrs}};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::TaskTracker;

use crate::{
    Config, Conn, Shared, Tx,
    conn::{PostgresClient, is_repeatable},
};

/// Connections that readers share.
const READERS: usize = 2;
/// A transaction that lost to a concurrent one is repeated this often.
const ATTEMPTS: u32 = 5;

pub(crate) struct Postgres {
    config: tokio_postgres::Config,
    pool: Pool,
    readers: Vec<tokio::sync::Mutex<Option<Arc<Client>>>>,
    turn: Mutex<usize>,
    tasks: TaskTracker,
    timeout: Duration,
}

impl Postgres {
    pub(crate) async fn open(url: &str, config: &Config) -> Result<Self> {
        let mut postgres = tokio_postgres::Config::from_str(url)
            .map_err(|error| Error::Internal(anyhow::Error::new(error).context("database.url is not a PostgreSQL URL")))?;
        postgres.target_session_attrs(TargetSessionAttrs::ReadWrite);
        postgres.application_name(format!("seawall {}", config.node));
        if postgres.get_connect_timeout().is_none() {
            postgres.connect_timeout(config.timeout);
        }
        postgres.keepalives_idle(Duration::from_secs(10));
        if plain(&postgres) {
            postgres.ssl_mode(SslMode::Disable);
        }
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = if plain(&postgres) {
            Manager::from_config(postgres.clone(), NoTls, recycling)
        } else {
            Manager::from_config(postgres.clone(), tls()?, recycling)
        };
        let timeouts = Timeouts { wait: Some(config.timeout), create: Some(config.timeout), recycle: Some(config.timeout) };
        let pool = Pool::builder(manager)
            .max_size(config.pool_size)
            .timeouts(timeouts)
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .build()
            .map_err(internal("building the connection pool"))?;
        let opened = Self {
            config: postgres,
            pool,
            readers: (0..READERS).map(|_| tokio::sync::Mutex::new(None)).collect(),
            turn: Mutex::new(0),
            tasks: crate::tracker(),
            timeout: config.timeout,
        };
        opened.reader().await?;
        Ok(opened)
    }

    /// A shared connection; queries of several readers are pipelined on it.
    pub(crate) async fn reader(&self) -> Result<PostgresClient> {
        let turn = {
            let mut turn = self.turn.lock();
            *turn = (*turn + 1) % READERS;
            *turn
        };
        let mut slot = self.readers[turn].lock().await;
        if let Some(client) = slot.as_ref().filter(|client| !client.is_closed()) {
            return Ok(PostgresClient::Shared(client.clone()));
        }
        let client = Arc::new(self.connect().await?);
        *slot = Some(client.clone());
        Ok(PostgresClient::Shared(client))
    }

    async fn connect(&self) -> Result<Client> {
        let connecting = async {
            if plain(&self.config) {
                let (client, connection) = self.config.connect(NoTls).await.map_err(unreachable)?;
                self.tasks.spawn(async move { drop(connection.await) });
                Ok(client)
            } else {
                let (client, connection) = self.config.connect(tls()?).await.map_err(unreachable)?;
                self.tasks.spawn(async move { drop(connection.await) });
                Ok(client)
            }
        };
        tokio::time::timeout(self.timeout, connecting)
            .await
            .map_err(|_| Error::Unavailable(anyhow::anyhow!("no PostgreSQL server answered within {:?}", self.timeout)))?
    }

    pub(crate) async fn write<T, F>(&self, shared: Shared, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + Sync + 'static,
    {
        let pool = self.pool.clone();
        // In a task of its own: a caller that goes away does not stop a transaction that began.
        let task = self.tasks.spawn(async move {
            let mut attempt = 1;
            loop {
                match transact(&pool, &shared, &work).await {
                    Err(error) if is_repeatable(&error) && attempt < ATTEMPTS => attempt += 1,
                    Err(error) if is_repeatable(&error) => {
                        return Err(Error::Unavailable(anyhow::anyhow!("still in conflict after {ATTEMPTS} attempts: {error}")));
                    }
                    outcome => return outcome,
                }
            }
        });
        task.await.map_err(|error| Error::Internal(anyhow::anyhow!("a transaction panicked: {error}")))?
    }

    pub(crate) async fn close(&self) {
        self.tasks.close();
        self.pool.close();
        for slot in &self.readers {
            slot.lock().await.take();
        }
        // Connections end when their clients are gone; a hung server must not hold up the shutdown.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.tasks.wait()).await;
    }
}

/// TLS is used when the URL asks for it (`sslmode=require`); an unverified connection would only look safe.
fn plain(config: &tokio_postgres::Config) -> bool {
    config.get_ssl_mode() != SslMode::Require
}

async fn transact<T, F>(pool: &Pool, shared: &Shared, work: &F) -> Result<T>
where
    F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T>>,
{
    let object = pool.get().await.map_err(|error| Error::Unavailable(anyhow::Error::new(error).context("postgres")))?;
    let conn = Conn::Postgres(PostgresClient::Pooled(object));
    let mut tx = Tx { conn, touched: Vec::new(), wakes_jobs: false, shared: shared.clone() };
    tx.conn.batch("BEGIN").await?;
    let outcome = work(&mut tx).await;
    let ended = tx.conn.batch(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" }).await;
    if ended.is_err()
        && let Conn::Postgres(PostgresClient::Pooled(object)) = tx.conn
    {
        // In an unknown state: it must not serve another transaction.
        drop(Object::take(object));
        return match (outcome, ended) {
            (Err(error), _) | (Ok(_), Err(error)) => Err(commit_unanswered(error)),
            (Ok(value), Ok(())) => Ok(value),
        };
    }
    if outcome.is_ok() {
        tx.announce();
    }
    outcome
}

/// A COMMIT without an answer may have happened or not: the caller repeats its request, which is harmless. A refused one
/// (serialization failure) keeps its own meaning.
fn commit_unanswered(error: Error) -> Error {
    match error {
        Error::Internal(cause) if cause.downcast_ref::<tokio_postgres::Error>().is_some_and(|e| e.as_db_error().is_none()) => {
            Error::Unavailable(cause)
        }
        other => other,
    }
}

fn unreachable(error: tokio_postgres::Error) -> Error {
    Error::Unavailable(anyhow::Error::new(error).context("connecting to PostgreSQL"))
}

/// TLS as `sslmode=require` asks for it, verified against the system's certificate authorities.
fn tls() -> Result<MakeRustlsConnect> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(internal("configuring TLS for PostgreSQL"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
