//! The same test on SQLite and on PostgreSQL, each time with a database of its own.

use std::{panic::AssertUnwindSafe, sync::OnceLock, time::Duration};

use db::{Config, Db, Engine, migrate};
use futures_util::FutureExt;
use model::{settings::Pinned, time::Clock};

use crate::postgres::{Database, Server, postgres};

/// A test that takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(2);

/// A database of one test, and a node on it.
pub struct TestDatabase {
    pub db: Db,
    /// Moves the time of every node of this test.
    pub clock: Clock,
    pub config: Config,
    home: Home,
}

enum Home {
    Sqlite(tempfile::TempDir),
    Postgres(Database),
}

/// Runs a test on each engine that this machine has, on a migrated database. A failure says on which.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a test is written where it is run"
)]
pub fn on_both(test: impl AsyncFn(&TestDatabase)) {
    on_sqlite(&test);
    on_postgres(&test);
}

/// The same on databases that were never migrated.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a test is written where it is run"
)]
pub fn on_both_empty(test: impl AsyncFn(&TestDatabase)) {
    let homes = [Some(sqlite_home()), postgres_home(false)];
    for home in homes.into_iter().flatten() {
        run(home, false, &test);
    }
}

/// Runs a test on SQLite alone.
pub fn on_sqlite(test: impl AsyncFn(&TestDatabase)) {
    run(sqlite_home(), true, test);
}

/// Runs a test on PostgreSQL alone, where there is one.
pub fn on_postgres(test: impl AsyncFn(&TestDatabase)) {
    if let Some(home) = postgres_home(true) {
        run(home, true, test);
    }
}

/// A migrated database on each engine that this machine has, for tests that bring their own runtime.
pub async fn databases() -> Vec<TestDatabase> {
    let mut all = Vec::new();
    for home in [Some(sqlite_home()), postgres_home(true)]
        .into_iter()
        .flatten()
    {
        let database = TestDatabase::open(home).await;
        migrate::up(&database.db, migrate::ALL)
            .await
            .expect("migrates");
        all.push(database);
    }
    all
}

/// A database on each engine that was never migrated, for tests that need more than one.
pub async fn empty_databases() -> Vec<TestDatabase> {
    let mut all = Vec::new();
    for home in [Some(sqlite_home()), postgres_home(false)]
        .into_iter()
        .flatten()
    {
        all.push(TestDatabase::open(home).await);
    }
    all
}

impl TestDatabase {
    async fn open(home: Home) -> Self {
        let engine = match &home {
            Home::Sqlite(dir) => Engine::Sqlite(dir.path().join("test.sqlite")),
            Home::Postgres(database) => Engine::Postgres(database.url()),
        };
        let config = Config {
            engine,
            node: "one".to_owned(),
            pool_size: 8,
            timeout: Duration::from_secs(10),
            pinned: Pinned::default(),
            trust: outbound::Trust::default(),
            ways: db::Ways::default(),
        };
        let clock = Clock::default();
        let db = Db::open(&config, clock.clone()).await.expect("opens");
        Self {
            db,
            clock,
            config,
            home,
        }
    }

    /// Another node on the same database.
    pub async fn node(&self, name: &str) -> Db {
        let config = Config {
            node: name.to_owned(),
            ..self.config.clone()
        };
        Db::open(&config, self.clock.clone()).await.expect("opens")
    }

    /// The SQLite file, when this is one.
    pub fn sqlite(&self) -> Option<std::path::PathBuf> {
        match &self.home {
            Home::Sqlite(dir) => Some(dir.path().join("test.sqlite")),
            Home::Postgres(_) => None,
        }
    }

    /// The PostgreSQL database, when this is one.
    pub fn postgres(&self) -> Option<&Database> {
        match &self.home {
            Home::Sqlite(_) => None,
            Home::Postgres(database) => Some(database),
        }
    }

    /// As autovacuum leaves it a minute after very much was written: until then PostgreSQL plans for tables that are all but empty.
    pub fn settle(&self) {
        if let Some(database) = self.postgres() {
            database.execute("VACUUM ANALYZE");
        }
    }
}

fn sqlite_home() -> Home {
    Home::Sqlite(tempfile::tempdir().expect("a temporary directory"))
}

fn postgres_home(migrated: bool) -> Option<Home> {
    let server = postgres()?;
    let database = if migrated {
        server.copy_of(template(&server))
    } else {
        server.fresh_database()
    };
    Some(Home::Postgres(database))
}

/// Migrated once for this process: a copy is made far sooner.
fn template(server: &Server) -> &'static Database {
    static TEMPLATE: OnceLock<Database> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let home = Home::Postgres(server.fresh_database());
        let migrating = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let test = TestDatabase::open(home).await;
                migrate::up(&test.db, migrate::ALL).await.expect("migrates");
                test.db.close().await;
                test.home
            })
        });
        match migrating.join().expect("migrates") {
            Home::Postgres(database) => database,
            Home::Sqlite(_) => unreachable!("made above"),
        }
    })
}

#[expect(clippy::needless_pass_by_value, reason = "as those who call it")]
fn run(home: Home, migrated: bool, test: impl AsyncFn(&TestDatabase)) {
    let engine = match &home {
        Home::Sqlite(_) => "sqlite",
        Home::Postgres(_) => "postgres",
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let outcome = runtime.block_on(async {
        let database = TestDatabase::open(home).await;
        if migrated {
            migrate::up(&database.db, migrate::ALL)
                .await
                .expect("migrates");
        }
        let outcome =
            tokio::time::timeout(PATIENCE, AssertUnwindSafe(test(&database)).catch_unwind()).await;
        database.db.close().await;
        outcome
    });
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => {
            #[expect(clippy::print_stderr, reason = "shown beside the test's own words")]
            {
                eprintln!("this failed on {engine}");
            }
            std::panic::resume_unwind(panic);
        }
        Err(late) => panic!("this hung on {engine}: {late}"),
    }
}
