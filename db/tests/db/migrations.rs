//! Migrations, with lists of their own.

use db::{
    Db,
    migrate::{self, Migration},
};
use futures_util::future::join_all;
use model::Error;

use crate::given::assert_kind;

const FIRST: Migration = Migration {
    version: 1,
    name: "pets",
    sql: "CREATE TABLE pets (id {id}, name {word} NOT NULL);",
};
const SECOND: Migration = Migration {
    version: 2,
    name: "ages",
    sql: "ALTER TABLE pets ADD COLUMN age BIGINT; CREATE TABLE owners (id {id}, photo {bytes});",
};
const BROKEN: Migration = Migration {
    version: 2,
    name: "broken",
    sql: "CREATE TABLE half (id {id}); INSERT INTO nowhere VALUES (1);",
};

const ONE: &[Migration] = &[FIRST];
const TWO: &[Migration] = &[FIRST, SECOND];
const WITH_BROKEN: &[Migration] = &[FIRST, BROKEN];

async fn version(db: &Db) -> i64 {
    migrate::status(db, TWO).await.unwrap().version
}

async fn tables(db: &Db) -> Vec<String> {
    let sql = match db.engine() {
        "sqlite" => {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
        }
        _ => "SELECT tablename::TEXT FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename",
    };
    db.reader()
        .await
        .unwrap()
        .rows(sql, &[], |row| row.text(0))
        .await
        .unwrap()
}

#[test]
fn an_empty_database_is_brought_up_and_a_second_time_is_harmless() {
    testkit::on_both_empty(async |test| {
        let status = migrate::status(&test.db, migrate::ALL).await.unwrap();
        assert_eq!(
            (status.version, status.pending.len()),
            (0, migrate::ALL.len())
        );
        assert_eq!(
            migrate::up(&test.db, migrate::ALL).await.unwrap(),
            migrate::ALL
        );
        assert_eq!(migrate::up(&test.db, migrate::ALL).await.unwrap(), []);
        let status = migrate::status(&test.db, migrate::ALL).await.unwrap();
        assert_eq!(
            (status.version, status.pending.len()),
            (migrate::ALL.len() as i64, 0)
        );
        if let Some(file) = test.sqlite() {
            let beside = std::fs::read_dir(file.parent().unwrap()).unwrap();
            let copies = beside.filter(|entry| {
                entry
                    .as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .contains("before")
            });
            assert_eq!(copies.count(), 0, "there was nothing to copy");
        }
    });
}

#[test]
fn of_nodes_that_start_at_once_each_step_is_taken_by_one() {
    testkit::on_both_empty(async |test| {
        let mut nodes = Vec::new();
        for number in 0..8 {
            nodes.push(test.node(&number.to_string()).await);
        }
        let taken = join_all(nodes.iter().map(|node| migrate::up(node, TWO))).await;
        let mut steps: Vec<i64> = taken
            .into_iter()
            .flat_map(Result::unwrap)
            .map(|step| step.version)
            .collect();
        steps.sort_unstable();
        assert_eq!(steps, [1, 2]);
        for node in nodes {
            node.close().await;
        }
    });
}

#[test]
fn a_newer_schema_is_refused_and_both_versions_are_named() {
    testkit::on_both_empty(async |test| {
        migrate::up(&test.db, TWO).await.unwrap();
        for outcome in [
            migrate::status(&test.db, ONE).await.map(|_| ()),
            migrate::up(&test.db, ONE).await.map(|_| ()),
            migrate::rehearse(&test.db, ONE).await.map(|_| ()),
        ] {
            let Err(Error::Precondition(words)) = outcome else {
                panic!("{outcome:?}")
            };
            assert!(
                words.contains("version 2") && words.contains("up to 1"),
                "{words}"
            );
        }
    });
}

#[test]
fn a_rehearsal_leaves_nothing_behind_and_tells_what_is_wrong() {
    testkit::on_both_empty(async |test| {
        let would = migrate::rehearse(&test.db, TWO).await.unwrap();
        assert_eq!(would, TWO);
        assert_eq!(version(&test.db).await, 0);
        assert!(tables(&test.db).await.is_empty());
        migrate::up(&test.db, ONE).await.unwrap();
        assert_kind(migrate::rehearse(&test.db, WITH_BROKEN).await, |error| {
            error.to_string().contains("nowhere")
        });
        assert_eq!(tables(&test.db).await, ["pets", "schema_migrations"]);
        assert_eq!(migrate::rehearse(&test.db, TWO).await.unwrap(), [SECOND]);
        assert_eq!(version(&test.db).await, 1);
    });
}

#[test]
fn a_step_that_fails_takes_nothing_of_itself_and_keeps_those_before_it() {
    testkit::on_both_empty(async |test| {
        assert!(migrate::up(&test.db, WITH_BROKEN).await.is_err());
        assert_eq!(version(&test.db).await, 1);
        assert_eq!(tables(&test.db).await, ["pets", "schema_migrations"]);
        migrate::up(&test.db, TWO).await.unwrap();
        assert_eq!(
            tables(&test.db).await,
            ["owners", "pets", "schema_migrations"]
        );
    });
}

#[test]
fn a_file_that_holds_something_is_copied_before_its_migration() {
    testkit::on_both_empty(async |test| {
        let Some(file) = test.sqlite() else { return };
        migrate::up(&test.db, ONE).await.unwrap();
        let copy = file.with_file_name("test.sqlite.before-2");
        assert!(!copy.exists());
        transact!(test.db, |tx| tx
            .execute("INSERT INTO pets (name) VALUES ('rex')", &[])
            .await)
        .unwrap();
        // What an earlier attempt left is of an earlier day.
        std::fs::write(&copy, "old").unwrap();
        std::fs::write(
            file.with_file_name("test.sqlite.before-2.unfinished"),
            "half",
        )
        .unwrap();
        migrate::up(&test.db, TWO).await.unwrap();
        let kept = rusqlite::Connection::open(&copy).unwrap();
        let name: String = kept
            .query_row("SELECT name FROM pets", [], |row| row.get(0))
            .unwrap();
        assert_eq!(name, "rex");
        assert!(
            kept.prepare("SELECT age FROM pets").is_err(),
            "the copy is of before the migration"
        );
        let whole: String = kept
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(whole, "ok");
        assert!(
            !file
                .with_file_name("test.sqlite.before-2.unfinished")
                .exists()
        );
    });
}
