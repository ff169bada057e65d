//! What is known of a server's replicas. `pg_receivewal` stands for one that is far behind: it takes the log and replays
//! nothing of it.

use std::process::{Child, Command, Stdio};

use db::{
    Config, Db, Engine,
    replicas::{self, Replication},
};
use model::{settings::Pinned, time::Clock};

/// Ended with the test.
struct Replica(Child);

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(work: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().build().unwrap().block_on(work);
}

async fn open(database: &testkit::Database) -> Db {
    let config = Config {
        engine: Engine::Postgres(database.url()),
        node: "one".to_owned(),
        pool_size: 4,
        timeout: std::time::Duration::from_secs(5),
        pinned: Pinned::default(),
        trust: outbound::Trust::default(),
        ways: db::Ways::default(),
    };
    Db::open(&config, Clock::default()).await.unwrap()
}

#[test]
fn a_replica_that_is_behind_is_seen_while_it_is_there() {
    let (Some(server), Some(program)) = (
        testkit::private_postgres(),
        testkit::program("pg_receivewal"),
    ) else {
        return;
    };
    let database = server.server.fresh_database();
    run(async {
        let db = open(&database).await;
        let position = async || {
            let reader = &mut *db.reader().await.unwrap();
            replicas::position(reader).await.unwrap()
        };
        assert_eq!(position().await, None);

        let log = tempfile::tempdir().unwrap();
        let replica = Command::new(program)
            .args(["--no-loop", "-d", &database.url(), "-D"])
            .arg(log.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let replica = Replica(replica);
        let seen = loop {
            if let Some(seen) = position().await {
                break seen;
            }
        };
        let reader = &mut *db.reader().await.unwrap();
        assert!(!replicas::have(reader, &seen).await.unwrap());
        drop(replica);
        while position().await.is_some() {}
        assert!(replicas::have(reader, &seen).await.unwrap());
        db.close().await;
    });
}

#[test]
fn commits_that_wait_for_no_replica_are_asynchronous_whatever_the_replicas_are() {
    let Some(server) = testkit::private_postgres() else {
        return;
    };
    let database = server.server.fresh_database();
    let _replica = server.replica(true);
    run(async {
        for (level, wanted) in [
            ("on", Replication::Synchronous),
            ("remote_write", Replication::Synchronous),
            ("local", Replication::Asynchronous),
            ("off", Replication::Asynchronous),
        ] {
            database.execute_outside(&format!(
                "ALTER DATABASE {{name}} SET synchronous_commit = '{level}'"
            ));
            let db = open(&database).await;
            let seen = replicas::replication(&mut db.reader().await.unwrap()).await;
            assert_eq!(seen.unwrap(), wanted, "{level}");
            db.close().await;
        }
    });
}
