//! SQLite: transactions that share a COMMIT do not share their fate, unless the COMMIT itself fails.

use std::{
    path::Path,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use db::{Config, Db, Engine, migrate};
use futures_util::future::join_all;
use model::{Error, Result, settings::Pinned, time::Clock};
use testkit::TestDatabase;

use crate::given::assert_kind;

const INSERT: &str = "INSERT INTO facts (name, value) VALUES ($1, 'x')";

async fn insert(db: &Db, name: &str) -> Result<u64> {
    let name = name.to_owned();
    transact!(db, [name], |tx| tx.execute(INSERT, &[(&name).into()]).await)
}

/// The names in the file as another process sees them.
fn names(file: &Path) -> Vec<String> {
    let conn = rusqlite::Connection::open(file).unwrap();
    let mut statement = conn
        .prepare("SELECT name FROM facts ORDER BY name")
        .unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

/// Holds the writer until the sender is dropped, so that what is written meanwhile becomes one group.
async fn hold_writer(db: &Db) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Result<()>>) {
    let (release, held) = mpsc::channel::<()>();
    let (begun, begin) = tokio::sync::oneshot::channel();
    let (held, begun) = (
        Arc::new(Mutex::new(held)),
        Arc::new(Mutex::new(Some(begun))),
    );
    let db = db.clone();
    #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
    let holding = tokio::spawn(async move {
        db.write(move |_| {
            let (held, begun) = (held.clone(), begun.clone());
            Box::pin(async move {
                if let Some(begun) = begun.lock().unwrap().take() {
                    begun.send(()).unwrap();
                }
                let _ = held.lock().unwrap().recv();
                Ok(())
            })
        })
        .await
    });
    begin.await.unwrap();
    (release, holding)
}

#[test]
fn every_answer_is_in_the_file_when_it_comes() {
    testkit::on_sqlite(async |test| {
        let file = test.sqlite().unwrap();
        let all = (0..200).map(async |number: u32| {
            let name = format!("{number:03}");
            insert(&test.db, &name).await.unwrap();
            let conn = rusqlite::Connection::open(&file).unwrap();
            let there = conn.query_row("SELECT 1 FROM facts WHERE name = ?1", [&name], |_| Ok(()));
            there.unwrap_or_else(|error| {
                panic!("{name} was acknowledged and is not there: {error}")
            });
        });
        join_all(all).await;
        assert_eq!(names(&file).len(), 200);
    });
}

#[test]
fn one_that_fails_or_panics_harms_no_neighbour() {
    testkit::on_sqlite(async |test| {
        let file = test.sqlite().unwrap();
        let (release, holding) = hold_writer(&test.db).await;
        let refused = async {
            transact!(test.db, |tx| {
                tx.execute(INSERT, &["refused".into()]).await?;
                Err::<(), _>(Error::Denied("no".to_owned()))
            })
        };
        let broken = async {
            transact!(test.db, |tx| {
                tx.execute(INSERT, &["broken".into()]).await?;
                tx.execute("INSERT INTO facts (name) VALUES ('without a value')", &[])
                    .await
            })
        };
        let careless = async {
            transact!(test.db, |tx| {
                tx.execute(INSERT, &["careless".into()]).await?;
                let _ = tx
                    .execute("INSERT INTO facts (name) VALUES ('without a value')", &[])
                    .await;
                Ok(())
            })
        };
        let panics = async {
            transact!(test.db, |tx| {
                tx.execute(INSERT, &["panics".into()]).await?;
                if tx.locks_rows() {
                    Ok(())
                } else {
                    panic!("on purpose")
                }
            })
        };
        let waits = async {
            transact!(test.db, |tx| {
                tx.execute(INSERT, &["waits".into()]).await?;
                tokio::task::yield_now().await;
                Ok(())
            })
        };
        let (before, after) = (insert(&test.db, "before"), insert(&test.db, "after"));
        let release = async { drop(release) };
        let (before, refused, broken, careless, panics, waits, after, ()) = tokio::join!(
            before, refused, broken, careless, panics, waits, after, release
        );
        holding.await.unwrap().unwrap();
        before.unwrap();
        after.unwrap();
        assert_kind(refused, |error| matches!(error, Error::Denied(_)));
        assert_kind(broken, |error| matches!(error, Error::Internal(_)));
        assert_kind(careless, |error| matches!(error, Error::Internal(_)));
        assert_kind(panics, |error| error.to_string().contains("panicked"));
        assert_kind(waits, |error| error.to_string().contains("waited"));
        assert_eq!(names(&file), ["after", "before"]);
    });
}

/// What happens when the disk refuses at the last moment, provoked by a constraint that is only asked at COMMIT.
#[test]
fn a_commit_that_fails_is_nobodys_success() {
    testkit::on_sqlite(async |test| {
        let file = test.sqlite().unwrap();
        let (release, holding) = hold_writer(&test.db).await;
        let spoiler = async {
            transact!(test.db, |tx| {
                tx.execute("PRAGMA defer_foreign_keys = ON", &[]).await?;
                tx.execute(
                    "INSERT INTO members (uid, project_id, user_id, role, created_at, updated_at) VALUES ('u', 1, 1, 1, 0, 0)",
                    &[],
                )
                .await
            })
        };
        let (before, after) = (insert(&test.db, "before"), insert(&test.db, "after"));
        let release = async { drop(release) };
        let (before, spoiler, after, ()) = tokio::join!(before, spoiler, after, release);
        // The one that held the writer may have been committed before the others were taken; they share their fate.
        let _ = holding.await.unwrap();
        for outcome in [before, spoiler, after] {
            assert_kind(outcome, |error| matches!(error, Error::Unavailable(_)));
        }
        assert!(names(&file).is_empty());
        insert(&test.db, "later").await.unwrap();
        assert_eq!(names(&file), ["later"]);
    });
}

#[test]
fn a_file_that_another_process_holds_is_a_matter_of_time() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("held.sqlite");
        let timeout = Duration::from_millis(100);
        let config = Config {
            engine: Engine::Sqlite(file.clone()),
            node: "one".to_owned(),
            pool_size: 1,
            timeout,
            pinned: Pinned::default(),
            trust: outbound::Trust::default(),
            ways: db::Ways::default(),
        };
        let db = Db::open(&config, Clock::default()).await.unwrap();
        migrate::up(&db, migrate::ALL).await.unwrap();
        let other = rusqlite::Connection::open(&file).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_kind(insert(&db, "early").await, |error| {
            matches!(error, Error::Unavailable(_))
        });
        assert!(db.now().await.is_ok(), "reads go on");
        other.execute_batch("ROLLBACK").unwrap();
        insert(&db, "late").await.unwrap();
        db.close().await;
        assert_eq!(names(&file), ["late"]);
    });
}

#[test]
fn a_caller_that_goes_away_does_not_stop_its_transaction() {
    testkit::on_sqlite(async |test| {
        let (release, holding) = hold_writer(&test.db).await;
        {
            let mut leaving = std::pin::pin!(insert(&test.db, "left"));
            assert!(futures_util::poll!(&mut leaving).is_pending());
        }
        drop(release);
        holding.await.unwrap().unwrap();
        // Behind it in the queue, so that it has happened when this is answered.
        insert(&test.db, "next").await.unwrap();
        assert_eq!(names(&test.sqlite().unwrap()), ["left", "next"]);
    });
}

#[test]
fn what_was_remembered_is_out_of_date_before_the_answer() {
    testkit::on_both(async |test: &TestDatabase| {
        let before = test.db.generations().rights();
        let refused: Result<()> = transact!(test.db, |tx| {
            tx.touch(db::generations::Touch::Rights);
            tx.execute("INSERT INTO facts (name) VALUES ('without a value')", &[])
                .await?;
            Ok(())
        });
        assert!(refused.is_err());
        let between = test.db.generations().rights();
        // A reader that still sees the old row must have noted the old generation, and one that notes the new one sees
        // the new row.
        let watch = async {
            loop {
                let seen = test.db.generations().rights();
                let there = db::facts::find(&mut test.db.reader().await.unwrap(), "new")
                    .await
                    .unwrap()
                    .is_some();
                if seen > between {
                    assert!(there, "the generation moved on before the row was there");
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        let write = async {
            transact!(test.db, |tx| {
                tx.touch(db::generations::Touch::Rights);
                tx.execute(INSERT, &["new".into()]).await
            })
            .unwrap();
            assert_eq!(test.db.generations().rights(), between + 1);
        };
        tokio::join!(watch, write);
        assert!(between >= before);
    });
}

/// On a file system of two megabytes that only root can mount.
#[test]
fn a_full_disk_is_said_as_such_and_room_helps() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let file = disk.0.path().join("full.sqlite");
        let engine = Engine::Sqlite(file.clone());
        let config = Config {
            engine,
            node: "one".to_owned(),
            pool_size: 1,
            timeout: Duration::from_secs(5),
            pinned: Pinned::default(),
            trust: outbound::Trust::default(),
            ways: db::Ways::default(),
        };
        let db = Db::open(&config, Clock::default()).await.unwrap();
        migrate::up(&db, migrate::ALL).await.unwrap();
        insert(&db, "first").await.unwrap();
        let filler = disk.0.path().join("filler");
        let _ = std::fs::write(&filler, vec![0; 4 << 20]); // fails when the disk is full, as it should
        let big = "x".repeat(256 << 10);
        let write = async |name: &'static str| {
            transact!(db, [big], |tx| {
                tx.execute(
                    "INSERT INTO facts (name, value) VALUES ($1, $2)",
                    &[name.into(), (&big).into()],
                )
                .await
            })
        };
        let neighbour = async {
            transact!(db, |tx| tx
                .execute("UPDATE facts SET value = 'y' WHERE name = 'first'", &[])
                .await)
        };
        let (big_one, neighbour) = tokio::join!(write("big"), neighbour);
        assert_kind(big_one, |error| matches!(error, Error::StorageFull(_)));
        if let Err(error) = neighbour {
            assert!(matches!(error, Error::StorageFull(_)), "{error}");
        }
        assert!(
            db::facts::find(&mut db.reader().await.unwrap(), "first")
                .await
                .unwrap()
                .is_some()
        );
        std::fs::remove_file(&filler).unwrap();
        write("later").await.unwrap();
        db.close().await;
        assert_eq!(names(&file), ["first", "later"]);
    });
}

struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let arguments = ["-t", "tmpfs", "-o", "size=2m", "tmpfs"];
        let mounted = std::process::Command::new("mount")
            .args(arguments)
            .arg(dir.path())
            .output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(dir));
        }
        testkit::left_out("mount", "a full disk cannot be tried: mounting needs root");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status();
    }
}

#[test]
fn a_writer_that_hangs_holds_up_nobody_for_ever() {
    testkit::on_sqlite(async |test| {
        let config = Config {
            timeout: Duration::from_millis(100),
            ..test.config.clone()
        };
        let db = Db::open(&config, Clock::default()).await.unwrap();
        let (release, holding) = hold_writer(&db).await;
        assert_kind(insert(&db, "late").await, |error| {
            matches!(error, Error::Unavailable(_))
        });
        assert_kind(holding.await.unwrap(), |error| {
            matches!(error, Error::Unavailable(_))
        });
        drop(release);
        db.close().await;
        // Nobody was told that it happened, and it may have: repeating it is harmless.
        assert_eq!(names(&test.sqlite().unwrap()), ["late"]);
    });
}
