//! PostgreSQL: what a transaction survives, and what its connection does not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use db::{Config, Db, Engine, facts, migrate};
use model::{Error, Result, settings::Pinned, time::Clock};
use tokio::sync::Barrier;

use crate::given::assert_kind;

/// How long a server may take where it is to take too long; a machine that is busy needs some of it for what works.
const SHORT: Duration = Duration::from_secs(2);

async fn set(db: &Db, name: &str) -> Result<()> {
    let name = name.to_owned();
    transact!(db, [name], |tx| facts::set(tx, &name, "x").await)
}

async fn has(db: &Db, name: &str) -> Result<bool> {
    Ok(facts::find(&mut *db.reader().await?, name).await?.is_some())
}

#[test]
fn a_deadlock_is_repeated_until_both_are_done() {
    testkit::on_postgres(async |test| {
        for name in ["a", "b"] {
            set(&test.db, name).await.unwrap();
        }
        let (both, attempts) = (Arc::new(Barrier::new(2)), Arc::new(AtomicU32::new(0)));
        let lock = async |first: &'static str, second: &'static str| {
            transact!(test.db, [both, attempts], |tx| {
                let meets = attempts.fetch_add(1, Ordering::SeqCst) < 2;
                facts::set(tx, first, "y").await?;
                if meets {
                    both.wait().await;
                }
                facts::set(tx, second, "y").await
            })
        };
        let (ab, ba) = tokio::join!(lock("a", "b"), lock("b", "a"));
        ab.unwrap();
        ba.unwrap();
        assert!(attempts.load(Ordering::SeqCst) > 2, "there was no deadlock");
    });
}

#[test]
fn a_lost_transaction_is_repeated_but_not_for_ever() {
    testkit::on_postgres(async |test| {
        const LOSE: &str = "DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$";
        let attempts = Arc::new(AtomicU32::new(0));
        let won = transact!(test.db, [attempts], |tx| {
            let attempt = attempts.fetch_add(1, Ordering::SeqCst);
            facts::set(tx, "won", &attempt.to_string()).await?;
            if attempt < 2 {
                tx.execute(LOSE, &[]).await?;
            }
            Ok(attempt)
        });
        assert_eq!(won.unwrap(), 2);
        let lost = transact!(test.db, |tx| tx.execute(LOSE, &[]).await);
        assert_kind(lost, |error| matches!(error, Error::Unavailable(_)));
    });
}

/// PostgreSQL answers the COMMIT of such a transaction with a ROLLBACK that looks like a success.
#[test]
fn a_closure_that_minds_no_error_is_not_told_that_it_was_committed() {
    testkit::on_both(async |test| {
        let careless = transact!(test.db, |tx| {
            facts::set(tx, "careless", "x").await?;
            let _ = tx
                .execute("INSERT INTO facts (name) VALUES ('without a value')", &[])
                .await;
            Ok(())
        });
        assert_kind(careless, |error| matches!(error, Error::Internal(_)));
        let goes_on = transact!(test.db, |tx| {
            let _ = tx
                .execute("INSERT INTO facts (name) VALUES ('without a value')", &[])
                .await;
            facts::set(tx, "goes on", "x").await
        });
        assert_kind(goes_on, |error| matches!(error, Error::Internal(_)));
        assert!(!has(&test.db, "careless").await.unwrap());
        assert!(!has(&test.db, "goes on").await.unwrap());
    });
}

#[test]
fn a_panic_leaves_no_open_transaction_behind() {
    testkit::on_both(async |test| {
        let config = Config {
            pool_size: 1,
            ..test.config.clone()
        };
        let db = Db::open(&config, Clock::default()).await.unwrap();
        let panics: Result<()> = transact!(db, |tx| {
            facts::set(tx, "panics", "x").await?;
            if tx.node().is_empty() {
                Ok(())
            } else {
                panic!("on purpose")
            }
        });
        assert_kind(panics, |error| error.to_string().contains("panicked"));
        set(&db, "next").await.unwrap();
        assert!(has(&db, "next").await.unwrap());
        assert!(!has(&db, "panics").await.unwrap());
        db.close().await;
    });
}

#[test]
fn a_transaction_that_fails_leaves_nothing() {
    testkit::on_both(async |test| {
        let refused: Result<()> = transact!(test.db, |tx| {
            facts::set(tx, "refused", "x").await?;
            Err(Error::Denied("no".to_owned()))
        });
        assert_kind(refused, |error| matches!(error, Error::Denied(_)));
        assert!(!has(&test.db, "refused").await.unwrap());
        set(&test.db, "next").await.unwrap();
    });
}

#[test]
fn a_connection_lost_inside_a_transaction_is_unavailable_and_the_next_one_is_new() {
    testkit::on_postgres(async |test| {
        let cut: Result<()> = transact!(test.db, |tx| {
            facts::set(tx, "cut", "x").await?;
            tx.exists("SELECT pg_terminate_backend(pg_backend_pid())", &[])
                .await?;
            facts::set(tx, "cut", "y").await
        });
        assert_kind(cut, |error| matches!(error, Error::Unavailable(_)));
        assert!(!has(&test.db, "cut").await.unwrap());
        set(&test.db, "next").await.unwrap();
    });
}

#[test]
fn a_caller_that_goes_away_does_not_stop_its_transaction() {
    testkit::on_postgres(async |test| {
        let (begun, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        {
            let leaving = async {
                transact!(test.db, [begun, go_on], |tx| {
                    begun.wait().await;
                    go_on.wait().await;
                    facts::set(tx, "left", "x").await
                })
            };
            tokio::select! {
                _ = leaving => unreachable!("it waits for us"),
                _ = begun.wait() => {}
            }
        }
        go_on.wait().await;
        while !has(&test.db, "left").await.unwrap() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_server_that_does_not_answer_is_unavailable_in_time() {
    testkit::on_postgres(async |test| {
        let config = Config {
            timeout: SHORT,
            ..test.config.clone()
        };
        let db = Db::open(&config, Clock::default()).await.unwrap();
        let slow = async {
            let mut reader = db.reader().await?;
            reader.exists("SELECT pg_sleep(60)", &[]).await
        };
        let read = tokio::time::timeout(Duration::from_secs(10), slow)
            .await
            .expect("it has a limit");
        assert_kind(read, |error| matches!(error, Error::Unavailable(_)));
        let slow = async { transact!(db, |tx| tx.exists("SELECT pg_sleep(60)", &[]).await) };
        let written = tokio::time::timeout(Duration::from_secs(10), slow)
            .await
            .expect("it has a limit");
        assert_kind(written, |error| matches!(error, Error::Unavailable(_)));
        // Nobody waits behind the query that hangs.
        assert!(!has(&db, "anything").await.unwrap());
        set(&db, "next").await.unwrap();
        db.close().await;
    });
}

#[test]
fn a_lock_that_is_held_too_long_is_unavailable_in_time() {
    testkit::on_postgres(async |test| {
        set(&test.db, "a").await.unwrap();
        let config = Config {
            timeout: SHORT,
            ..test.config.clone()
        };
        let db = Db::open(&config, Clock::default()).await.unwrap();
        let (locked, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let holds = async {
            transact!(test.db, [locked, go_on], |tx| {
                facts::set(tx, "a", "held").await?;
                locked.wait().await;
                go_on.wait().await;
                Ok(())
            })
        };
        let waits = async {
            locked.wait().await;
            let waited = set(&db, "a").await;
            go_on.wait().await;
            waited
        };
        let (held, waited) = tokio::join!(holds, waits);
        held.unwrap();
        assert_kind(waited, |error| matches!(error, Error::Unavailable(_)));
        db.close().await;
    });
}

/// A node that froze inside a transaction must not keep its locks from everybody else.
#[test]
fn the_locks_of_a_frozen_node_are_let_go() {
    testkit::on_postgres(async |test| {
        let config = Config {
            timeout: SHORT,
            node: "frozen".to_owned(),
            ..test.config.clone()
        };
        let frozen = Db::open(&config, Clock::default()).await.unwrap();
        let (locked, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let freezes = async {
            transact!(frozen, [locked, go_on], |tx| {
                facts::set(tx, "a", "frozen").await?;
                locked.wait().await;
                go_on.wait().await;
                Ok(())
            })
        };
        let others = async {
            locked.wait().await;
            set(&test.db, "a").await.unwrap();
            go_on.wait().await;
        };
        let (thawed, ()) = tokio::join!(freezes, others);
        assert_kind(thawed, |error| matches!(error, Error::Unavailable(_)));
        let value = facts::find(&mut test.db.reader().await.unwrap(), "a")
            .await
            .unwrap();
        assert_eq!(value.as_deref(), Some("x"));
        frozen.close().await;
    });
}

#[test]
fn the_isolation_is_ours_whatever_the_servers_default() {
    testkit::on_postgres(async |test| {
        test.postgres().unwrap().execute_outside(
            "ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'",
        );
        let db = test.node("two").await;
        let isolation = transact!(db, |tx| tx
            .row("SHOW transaction_isolation", &[], |row| row.text(0))
            .await);
        assert_eq!(isolation.unwrap().as_deref(), Some("read committed"));
        db.close().await;
    });
}

#[test]
fn of_several_hosts_the_one_that_answers_is_used() {
    testkit::on_postgres(async |test| {
        let url = test.postgres().unwrap().url();
        let nobody = testkit::free_port().unwrap();
        let (user, rest) = url.split_once('@').unwrap();
        let config = Config {
            engine: Engine::Postgres(format!("{user}@127.0.0.1:{nobody},{rest}")),
            timeout: Duration::from_secs(5),
            ..test.config.clone()
        };
        let db = Db::open(&config, Clock::default()).await.unwrap();
        set(&db, "a").await.unwrap();
        db.close().await;
        // A read-only server is not used even when it is the only one.
        test.postgres()
            .unwrap()
            .execute_outside("ALTER DATABASE {name} SET default_transaction_read_only = on");
        let refused = Db::open(&test.config, Clock::default()).await.map(|_| ());
        assert_kind(refused, |error| matches!(error, Error::Unavailable(_)));
    });
}

#[test]
fn after_a_crash_of_the_server_reads_and_writes_recover_by_themselves() {
    let Some(server) = testkit::private_postgres() else {
        return;
    };
    let database = server.server.fresh_database();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let timeout = Duration::from_secs(5);
        let engine = Engine::Postgres(database.url());
        let config = Config {
            engine,
            node: "one".to_owned(),
            pool_size: 4,
            timeout,
            pinned: Pinned::default(),
            trust: outbound::Trust::default(),
            ways: db::Ways::default(),
        };
        let db = Db::open(&config, Clock::default()).await.unwrap();
        migrate::up(&db, migrate::ALL).await.unwrap();
        // Several connections in the pool, so that several are dead afterwards.
        let together = Arc::new(Barrier::new(4));
        let fill = async || {
            transact!(db, [together], |tx| {
                tx.exists("SELECT 1", &[]).await?;
                together.wait().await;
                Ok(())
            })
        };
        let (a, b, c, d) = tokio::join!(fill(), fill(), fill(), fill());
        a.and(b).and(c).and(d).unwrap();
        set(&db, "before").await.unwrap();

        server.crash();
        assert_kind(has(&db, "before").await, |error| {
            matches!(error, Error::Unavailable(_))
        });
        assert_kind(set(&db, "away").await, |error| {
            matches!(error, Error::Unavailable(_))
        });
        assert_kind(db.ping().await, |error| {
            matches!(error, Error::Unavailable(_))
        });

        server.start();
        assert!(
            has(&db, "before").await.unwrap(),
            "what was acknowledged is there"
        );
        set(&db, "after").await.unwrap();
        assert!(has(&db, "after").await.unwrap());
        assert!(!has(&db, "away").await.unwrap());
        db.close().await;
    });
}

#[test]
fn jobs_do_not_wait_behind_requests() {
    testkit::on_postgres(async |test| {
        let config = Config {
            pool_size: 1,
            ..test.config.clone()
        };
        let db = Db::open(&config, Clock::default()).await.unwrap();
        let (begun, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let request = async {
            transact!(db, [begun, go_on], |_tx| {
                begun.wait().await;
                go_on.wait().await;
                Ok(())
            })
        };
        let job = async {
            begun.wait().await;
            let written = set(&db.in_background(), "job").await;
            go_on.wait().await;
            written
        };
        let (request, job) = tokio::join!(request, job);
        request.unwrap();
        job.unwrap();
        db.close().await;
    });
}

#[test]
fn a_server_that_takes_no_writes_any_more_is_let_go() {
    testkit::on_postgres(async |test| {
        let db = test.node("two").await;
        let backend = async || {
            let pid = transact!(db, |tx| tx
                .row("SELECT pg_backend_pid()::BIGINT", &[], |row| row.int(0))
                .await);
            pid.unwrap().unwrap()
        };
        let before = backend().await;
        // As after a switch to another primary: the connection lives on, its server takes no writes.
        let demoted = transact!(db, |tx| {
            tx.execute("SET LOCAL transaction_read_only = on", &[])
                .await?;
            facts::set(tx, "a", "x").await
        });
        assert_kind(demoted, |error| matches!(error, Error::Unavailable(_)));
        assert_ne!(backend().await, before);
        db.close().await;
    });
}
