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
    indexes: "",
    checks: &[],
};
const SECOND: Migration = Migration {
    version: 2,
    name: "ages",
    sql: "ALTER TABLE pets ADD COLUMN age BIGINT; CREATE TABLE owners (id {id}, photo {bytes});",
    indexes: "CREATE INDEX pets_age ON pets (age);\nCREATE INDEX pets_name ON pets (name);",
    checks: &[
        "SELECT 'pet ' || id || ' has no name: give it one' FROM pets WHERE name = '' ORDER BY id LIMIT 100",
    ],
};
const BROKEN: Migration = Migration {
    version: 2,
    name: "broken",
    sql: "CREATE TABLE half (id {id}); INSERT INTO nowhere VALUES (1);",
    indexes: "",
    checks: &[],
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
        // A SQLite file has one process.
        let count = if test.db.is_exclusive() { 1 } else { 8 };
        for number in 0..count {
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

#[test]
fn rows_in_the_way_of_a_step_are_named_and_nothing_is_changed() {
    testkit::on_both_empty(async |test| {
        migrate::up(&test.db, ONE).await.unwrap();
        for _ in 0..12 {
            transact!(test.db, |tx| tx
                .execute("INSERT INTO pets (name) VALUES ('')", &[])
                .await)
            .unwrap();
        }
        for outcome in [
            migrate::rehearse(&test.db, TWO).await,
            migrate::up(&test.db, TWO).await,
        ] {
            let Err(Error::Precondition(words)) = outcome else {
                panic!("{outcome:?}")
            };
            assert!(
                words.contains("version 2 (ages)")
                    && words.contains("pet 10 has no name: give it one; and 2 more"),
                "{words}"
            );
        }
        assert_eq!(version(&test.db).await, 1);
        assert_eq!(tables(&test.db).await, ["pets", "schema_migrations"]);
    });
}

async fn indexes(db: &Db) -> Vec<String> {
    let sql = match db.engine() {
        "sqlite" => {
            "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'pets%' ORDER BY name"
        }
        _ => {
            "SELECT c.relname::TEXT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
              WHERE i.indisvalid AND NOT i.indisprimary AND c.relname LIKE 'pets%' ORDER BY 1"
        }
    };
    let mut reader = db.reader().await.unwrap();
    reader.rows(sql, &[], |row| row.text(0)).await.unwrap()
}

#[test]
fn indexes_come_with_their_step_however_many_nodes_take_it() {
    testkit::on_both_empty(async |test| {
        let mut nodes = Vec::new();
        // A SQLite file has one process.
        let count = if test.db.is_exclusive() { 1 } else { 4 };
        for number in 0..count {
            nodes.push(test.node(&number.to_string()).await);
        }
        migrate::up(&test.db, ONE).await.unwrap();
        transact!(test.db, |tx| tx
            .execute("INSERT INTO pets (name) VALUES ('rex')", &[])
            .await)
        .unwrap();
        let taken = join_all(nodes.iter().map(|node| migrate::up(node, TWO))).await;
        assert_eq!(taken.into_iter().flat_map(Result::unwrap).count(), 1);
        assert_eq!(indexes(&test.db).await, ["pets_age", "pets_name"]);
        for node in nodes {
            node.close().await;
        }
    });
}

#[test]
fn an_index_that_a_build_left_invalid_is_built_again() {
    testkit::on_both_empty(async |test| {
        let Some(postgres) = test.postgres() else {
            return;
        };
        migrate::up(&test.db, TWO).await.unwrap();
        postgres.execute("UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'pets_age'::REGCLASS; DROP INDEX pets_name");
        assert!(indexes(&test.db).await.is_empty());
        assert_eq!(migrate::up(&test.db, TWO).await.unwrap(), []);
        assert_eq!(indexes(&test.db).await, ["pets_age", "pets_name"]);
    });
}

#[test]
fn an_index_that_a_later_step_drops_is_not_missed() {
    const THIRD: Migration = Migration {
        version: 3,
        name: "ageless",
        sql: "DROP INDEX pets_age;",
        indexes: "",
        checks: &[],
    };
    const THREE: &[Migration] = &[FIRST, SECOND, THIRD];
    testkit::on_both_empty(async |test| {
        migrate::up(&test.db, TWO).await.unwrap();
        migrate::up(&test.db, THREE).await.unwrap();
        assert_eq!(indexes(&test.db).await, ["pets_name"]);
    });
}
