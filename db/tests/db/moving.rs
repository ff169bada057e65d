//! Databases that go elsewhere while they are used, from each engine to each.

mod watched;

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use db::{
    Db, facts,
    moving::{self, Begun, Change, Moving, Target},
    projects, store_id, uploads, users,
};
use model::{Error, id::BlobId};
use testkit::TestDatabase;
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::given::{self, NOW, assert_kind, digest, later};

fn begun(id: &str) -> Begun {
    Begun {
        id: id.to_owned(),
        database: Some("elsewhere".to_owned()),
        storage: None,
    }
}

/// Each pair of engines that this machine has: a migrated source and a target that never was.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a test is written where it is run"
)]
fn on_each_pair(test: impl AsyncFn(&TestDatabase, &TestDatabase)) {
    for which in 0..2 {
        testkit::on_both(async |source| {
            let targets = testkit::empty_databases().await;
            if let Some(target) = targets.get(which) {
                test(source, target).await;
            }
            for target in targets {
                target.db.close().await;
            }
        });
    }
}

/// All rows of all tables as text, but for numbers of transactions and what the move notes.
async fn dump(db: &Db) -> BTreeMap<String, Vec<String>> {
    let mut reader = db.reader().await.unwrap();
    let is_postgres = reader.locks_rows();
    let catalogue = if is_postgres {
        "SELECT table_name::TEXT, column_name::TEXT, upper(data_type::TEXT) FROM information_schema.columns
          WHERE table_schema = 'public' ORDER BY 1, 2"
    } else {
        "SELECT t.name, c.name, c.type FROM sqlite_master t, pragma_table_info(t.name) c
          WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' ORDER BY 1, 2"
    };
    let columns = reader
        .rows(catalogue, &[], |row| {
            Ok((row.text(0)?, row.text(1)?, row.text(2)?))
        })
        .await
        .unwrap();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (table, column, kind) in columns {
        if table == "schema_migrations" || table.starts_with("mov") || column == "tx" {
            continue;
        }
        let text = match kind.as_str() {
            "BOOLEAN" => format!("CASE WHEN \"{column}\" THEN 'true' ELSE 'false' END"),
            "BYTEA" => format!("encode(\"{column}\", 'hex')"),
            "BLOB" => format!("lower(hex(\"{column}\"))"),
            _ => format!("CAST(\"{column}\" AS TEXT)"),
        };
        let texts = texts.entry(table).or_default();
        texts.push(format!("COALESCE({text}, 'none')"));
    }
    let mut all = BTreeMap::new();
    for (table, columns) in texts {
        let but = if table == "facts" {
            " WHERE name NOT LIKE 'mov%'"
        } else {
            ""
        };
        let sql = format!(
            "SELECT {} FROM \"{table}\"{but}",
            columns.join(" || '|' || ")
        );
        let sql: &'static str = Box::leak(sql.into_boxed_str());
        let mut rows = reader.rows(sql, &[], |row| row.text(0)).await.unwrap();
        rows.sort();
        all.insert(table, rows);
    }
    all
}

fn assert_same(one: &BTreeMap<String, Vec<String>>, other: &BTreeMap<String, Vec<String>>) {
    assert_eq!(
        one.keys().collect::<Vec<_>>(),
        other.keys().collect::<Vec<_>>()
    );
    for (table, rows) in one {
        assert_eq!(rows, &other[table], "{table}");
    }
}

async fn fill(db: &Db) {
    let app = given::repository(db, "library/app").await;
    for number in 0..40 {
        let content = given::held(db, app, 10_000 + number).await;
        let artifact = given::manifest(db, app, number, &[content], &[]).await;
        given::tag(db, app, &format!("v{number}"), artifact, number).await;
    }
    let state = vec![0, 1, 255];
    transact!(db, [state], |tx| {
        let epoch = uploads::take(tx, "key", "library/app", None, false, NOW).await?;
        uploads::put_aside(tx, "key", epoch.unwrap(), 3, Some(&state), NOW).await
    })
    .unwrap();
    // A number that was given out and whose row has gone.
    given::user(db, "gone").await;
    transact!(db, |tx| tx
        .execute("DELETE FROM users WHERE name = 'gone'", &[])
        .await)
    .unwrap();
}

/// Writes and deletes until it is told to end; answers how many transactions were acknowledged.
async fn write(db: &Db, who: u64, end: &AtomicBool, count: &AtomicU64) {
    let app = given::repository(db, &format!("library/app-{who}")).await;
    for round in 0.. {
        if end.load(Ordering::Relaxed) {
            return;
        }
        let number = 1_000_000 * (who + 1) + round * 10;
        let content = given::held(db, app, number).await;
        let artifact = given::manifest(db, app, number + 1, &[content], &[]).await;
        // The same tags again and again, so that names change hands.
        given::tag(db, app, &format!("v{}", round % 7), artifact, number + 1).await;
        if round % 3 == 0 {
            let user = format!("u{who}-{round}");
            given::user(db, &user).await;
            transact!(db, [user], |tx| {
                let found = users::get_name(tx, &user).await?;
                users::delete(tx, &found, NOW).await
            })
            .unwrap();
        }
        if round % 5 == 4 {
            let before = digest(1_000_000 * (who + 1) + (round - 4) * 10 + 1);
            let found = db::artifacts::find(&mut db.reader().await.unwrap(), app.id, &before)
                .await
                .unwrap();
            if let Some(found) = found {
                transact!(db, [found], |tx| {
                    given::delete(tx, app, &found, later(10), NOW).await
                })
                .unwrap();
            }
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A move that has begun and copied all there was.
async fn copied(source: &Db, target: &Db, id: &str) -> Moving {
    let mut moving = Moving::begin(source, target, &begun(id)).await.unwrap();
    let cancel = CancellationToken::new();
    moving.copy(&cancel, |_| {}).await.unwrap();
    moving
}

async fn finish(source: &Db, mut moving: Moving) -> moving::Finished {
    while moving.catch_up().await.unwrap().rows > 500 {}
    moving.check().await.unwrap();
    let held = source.hold_writes().await.unwrap();
    let finished = moving.finish(&held, &Change::Nothing).await.unwrap();
    moving::seal(source, "there", &held).await.unwrap();
    moving.switch(&held).close().await;
    drop(held);
    moving::validate(source).await.unwrap();
    finished
}

#[test]
fn a_database_that_is_written_goes_elsewhere_and_nothing_is_lost() {
    on_each_pair(async |source, target| {
        // The test's own handle stays with the old one.
        let db = &source.node("two").await;
        fill(db).await;
        let beside = db.open_beside(&target.config).await.unwrap();
        let (end, count) = (AtomicBool::new(false), AtomicU64::new(0));
        let move_it = async {
            while count.load(Ordering::Relaxed) < 5 {
                tokio::task::yield_now().await;
            }
            let moving = copied(db, &beside, "one").await;
            let seen = count.load(Ordering::Relaxed);
            while count.load(Ordering::Relaxed) < seen + 5 {
                tokio::task::yield_now().await;
            }
            let finished = finish(db, moving).await;
            let seen = count.load(Ordering::Relaxed);
            // They go on in the new one.
            while count.load(Ordering::Relaxed) < seen + 5 {
                tokio::task::yield_now().await;
            }
            end.store(true, Ordering::Relaxed);
            finished
        };
        let (finished, ..) = tokio::join!(
            move_it,
            write(db, 0, &end, &count),
            write(db, 1, &end, &count),
            write(db, 2, &end, &count),
        );
        assert!(finished.rows["tags"] >= 40);
        assert_eq!(db.engine(), target.db.engine());
        let new = target.node("three").await;
        assert_same(&dump(db).await, &dump(&new).await);
        assert_eq!(moving::target(&new).await.unwrap(), Target::InUse);
        // Sums are right, numbers go on after all that were ever given out, and foreign keys hold.
        let library = projects::get_name(&mut new.reader().await.unwrap(), "library")
            .await
            .unwrap();
        let wrong = db::recount::find(&mut new.reader().await.unwrap(), library.id)
            .await
            .unwrap();
        assert!(wrong.is_exact(), "{wrong}");
        let broken = transact!(new, |tx| tx
            .execute("UPDATE projects SET owner_id = 4711", &[])
            .await);
        assert_kind(broken, |error| matches!(error, Error::Internal(_)));
        let old = &mut source.db.reader().await.unwrap();
        assert_eq!(
            moving::moved_to(old).await.unwrap().as_deref(),
            Some("there")
        );
        assert!(moving::begun(old).await.unwrap().is_none());
        new.close().await;
        db.close().await;
    });
}

#[test]
fn a_database_at_rest_is_the_same_elsewhere_and_so_are_its_numbers() {
    on_each_pair(async |source, target| {
        let db = &source.node("two").await;
        fill(db).await;
        let before = dump(db).await;
        let next = users::get_name(&mut db.reader().await.unwrap(), "alice")
            .await
            .unwrap()
            .id
            .0
            + 2;
        let beside = db.open_beside(&target.config).await.unwrap();
        let moving = copied(db, &beside, "one").await;
        finish(db, moving).await;
        assert_same(&before, &dump(db).await);
        let made = given::user(db, "next").await;
        assert_eq!(
            made.id.0, next,
            "the number of one who has gone is not given out again"
        );
        let upload = uploads::find(&mut db.reader().await.unwrap(), "key")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(upload.hash_state, Some(vec![0, 1, 255]));
        db.close().await;
    });
}

#[test]
fn a_copy_that_was_interrupted_goes_on_where_it_was() {
    on_each_pair(async |source, target| {
        let db = &source.node("two").await;
        fill(db).await;
        let beside = db.open_beside(&target.config).await.unwrap();
        let cancel = CancellationToken::new();
        let mut moving = Moving::begin(db, &beside, &begun("one")).await.unwrap();
        let stopped = moving.copy(&cancel, |progress| {
            if progress.table == "repository_blobs" {
                cancel.cancel();
            }
        });
        assert_kind(stopped.await, |error| {
            matches!(error, Error::Unavailable(_))
        });
        drop(moving);
        assert_eq!(moving::target(&beside).await.unwrap(), Target::Unfinished);
        // What happens while nobody moves is not lost either.
        let late = given::repository(db, "library/late").await;
        given::manifest(db, late, 900_000, &[], &[]).await;
        transact!(db, |tx| tx
            .execute("DELETE FROM tags WHERE name = 'v3'", &[])
            .await)
        .unwrap();
        let mut moving = Moving::begin(db, &beside, &begun("one")).await.unwrap();
        let mut tables = Vec::new();
        moving
            .copy(&CancellationToken::new(), |progress| {
                tables.push(progress.table);
            })
            .await
            .unwrap();
        assert!(!tables.contains(&"artifacts".to_owned()), "copied already");
        let before = dump(db).await;
        finish(db, moving).await;
        assert_same(&before, &dump(db).await);
        db.close().await;
    });
}

#[test]
fn what_is_in_use_is_never_moved_over() {
    on_each_pair(async |source, target| {
        let db = &source.node("two").await;
        db::migrate::up(&target.db, db::migrate::ALL).await.unwrap();
        given::user(&target.db, "somebody").await;
        assert_eq!(moving::target(&target.db).await.unwrap(), Target::InUse);
        let beside = db.open_beside(&target.config).await.unwrap();
        let refused = Moving::begin(db, &beside, &begun("one")).await;
        assert_kind(
            refused.map(drop),
            |error| matches!(error, Error::Precondition(why) if why.contains("is in use")),
        );
        // And nothing has begun.
        assert!(
            moving::begun(&mut db.reader().await.unwrap())
                .await
                .unwrap()
                .is_none()
        );
        db.close().await;
    });
}

#[test]
fn a_move_that_was_given_up_leaves_nothing_and_another_may_begin() {
    on_each_pair(async |source, target| {
        let db = &source.node("two").await;
        given::user(db, "before").await;
        let beside = db.open_beside(&target.config).await.unwrap();
        let moving = copied(db, &beside, "one").await;
        drop(moving);
        let other = Moving::begin(db, &beside, &begun("two")).await;
        assert_kind(other.map(drop), |error| {
            matches!(error, Error::Precondition(_))
        });
        assert_eq!(moving::abort(db).await.unwrap(), Some(begun("one")));
        given::user(db, "after").await;
        let left = "SELECT COUNT(*) FROM facts WHERE name = 'moving'";
        let reader = &mut db.reader().await.unwrap();
        let left = reader.row(left, &[], |row| row.int(0)).await;
        assert_eq!(left.unwrap(), Some(0));
        let moving = copied(db, &beside, "three").await;
        let before = dump(db).await;
        finish(db, moving).await;
        assert_same(&before, &dump(db).await);
        db.close().await;
    });
}

#[test]
fn a_last_round_that_was_in_vain_is_repeated() {
    on_each_pair(async |source, target| {
        let db = &source.node("two").await;
        given::user(db, "first").await;
        let beside = db.open_beside(&target.config).await.unwrap();
        let mut moving = copied(db, &beside, "one").await;
        let held = db.hold_writes().await.unwrap();
        moving.finish(&held, &Change::Nothing).await.unwrap();
        moving.reopen().await.unwrap();
        drop(held);
        given::user(db, "second").await;
        let before = dump(db).await;
        finish(db, moving).await;
        assert_same(&before, &dump(db).await);
        db.close().await;
    });
}

/// What only the end changes is as it was before it is compared.
#[test]
fn a_last_round_that_changed_the_store_in_vain_is_repeated() {
    on_each_pair(async |source, target| {
        let db = &source.node("two").await;
        let app = given::repository(db, "library/app").await;
        let gone = given::held(db, app, 1).await;
        transact!(db, [gone], |tx| {
            facts::set(tx, facts::STORE_ID, "here").await?;
            facts::set(tx, facts::TIMELINE, "1").await?;
            let sql = "UPDATE blobs SET state = 2, generation = -1 WHERE id = $1";
            tx.execute(sql, &[gone.into()]).await
        })
        .unwrap();
        let beside = db.open_beside(&target.config).await.unwrap();
        let mut moving = copied(db, &beside, "one").await;
        let there = Change::Store("one".to_owned());
        for name in ["first", "second", "third"] {
            given::user(db, name).await;
            let held = db.hold_writes().await.unwrap();
            moving.finish(&held, &there).await.unwrap();
            moving.reopen().await.unwrap();
        }
        let known = store_id::known(&beside).await.unwrap();
        assert_eq!(known.id.as_deref(), Some("one"));
        assert_eq!(known.left.as_deref(), Some("here"));
        beside.close().await;
        db.close().await;
    });
}

#[test]
fn contents_are_told_of_where_only_the_store_moves() {
    testkit::on_both(async |test| {
        let db = &test.db;
        let app = given::repository(db, "library/app").await;
        let first = given::held(db, app, 1).await;
        let begun = Begun {
            id: "store".to_owned(),
            database: None,
            storage: Some("there".to_owned()),
        };
        moving::watch_contents(db, &begun).await.unwrap();
        let second = given::held(db, app, 2).await;
        assert_eq!(moving::changed_contents(db).await.unwrap(), [second]);
        assert!(moving::changed_contents(db).await.unwrap().is_empty());
        transact!(db, |tx| {
            tx.execute(
                "UPDATE blobs SET location = 'up.key.0123456789abcdef.100' WHERE id = 1",
                &[],
            )
            .await
        })
        .unwrap();
        assert_eq!(moving::changed_contents(db).await.unwrap(), [first]);
        let reader = &mut db.reader().await.unwrap();
        let all = moving::contents(reader, BlobId(0), 10).await.unwrap();
        assert_eq!(all.len(), 2);
        let held = db.hold_writes().await.unwrap();
        moving::change_store(db, "store", None, &held)
            .await
            .unwrap();
        drop(held);
        let all = moving::contents_of(reader, &[first]).await.unwrap();
        assert_eq!(all[0].location, "data");
        let moved = facts::find(reader, moving::STORE_MOVED).await.unwrap();
        assert_eq!(moved.as_deref(), Some("store"));
        given::held(db, app, 3).await;
        assert!(moving::begun(reader).await.unwrap().is_none());
    });
}

/// A COMMIT whose answer was lost may still be under way when somebody asks.
#[test]
fn whether_contents_have_moved_is_not_said_before_a_commit_under_way_has_ended() {
    testkit::on_postgres(async |test| {
        let db = &test.db;
        moving::watch_contents(db, &begun("store")).await.unwrap();
        let (reached, goes_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (told, waits) = (reached.clone(), goes_on.clone());
        let commit = db.write(move |tx| {
            let (told, waits) = (told.clone(), waits.clone());
            Box::pin(async move {
                facts::delete(tx, moving::MOVING).await?;
                facts::set(tx, moving::STORE_MOVED, "store").await?;
                told.notify_one();
                waits.notified().await;
                Ok(())
            })
        });
        let ask = async {
            reached.notified().await;
            let mut asked = pin!(moving::has_changed_store(db, "store"));
            let early = timeout(Duration::from_millis(50), &mut asked).await;
            assert!(early.is_err(), "{early:?}");
            goes_on.notify_one();
            asked.await.unwrap()
        };
        let (committed, has_moved) = tokio::join!(commit, ask);
        committed.unwrap();
        assert!(has_moved);
        assert!(!moving::has_changed_store(db, "another").await.unwrap());
    });
}

#[test]
fn writers_wait_while_they_are_held() {
    testkit::on_both(async |test| {
        let held = test.db.hold_writes().await.unwrap();
        let writer = given::user(&test.db, "alice");
        tokio::pin!(writer);
        let early = timeout(Duration::from_millis(50), &mut writer).await;
        assert!(early.is_err());
        drop(held);
        assert_eq!(writer.await.name, "alice");
    });
}
