//! Settings: kept, pinned, remembered, logged.

use db::{Config, Db, changes, settings};
use model::settings::{Changes, Pinned, parse};
use serde_json::{Value, json};
use testkit::TestDatabase;

use crate::given::NOW;

fn changes_of(value: &Value) -> Changes {
    parse(value.as_object().unwrap()).unwrap()
}

async fn set(db: &Db, value: &Value) {
    let wanted = changes_of(value);
    transact!(db, [wanted], |tx| settings::set_all(tx, &wanted, NOW).await).unwrap();
}

/// Another handle on the same database, with settings that its configuration pins.
async fn pinned(test: &TestDatabase, pinned: &[(&str, &str)]) -> Db {
    let values = pinned
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let config = Config {
        pinned: Pinned {
            values: values.collect(),
            all: false,
        },
        ..test.config.clone()
    };
    Db::open(&config, test.clock.clone()).await.unwrap()
}

async fn logged(db: &Db) -> Vec<(String, String)> {
    let rows = changes::list(&mut db.reader().await.unwrap(), None, 100).await;
    let settings = rows
        .unwrap()
        .into_iter()
        .filter(|row| row.kind == "setting.changed");
    settings.map(|row| (row.key, row.payload)).collect()
}

#[test]
fn a_setting_that_was_changed_is_seen_by_the_next_who_asks() {
    testkit::on_both(async |test| {
        let before = test.db.settings().await.unwrap();
        assert!(!before.read_only() && before.token_expiration().as_secs() == 1800);
        for minutes in [5, 6] {
            set(
                &test.db,
                &json!({ "read_only": true, "token_expiration": minutes }),
            )
            .await;
            let after = test.db.settings().await.unwrap();
            assert!(after.read_only());
            assert_eq!(after.token_expiration().as_secs(), minutes * 60);
        }
    });
}

#[test]
fn what_the_configuration_pins_counts_before_what_is_kept() {
    testkit::on_both(async |test| {
        set(
            &test.db,
            &json!({ "read_only": true, "self_registration": true }),
        )
        .await;
        let db = pinned(test, &[("read_only", "false")]).await;
        let settings = db.settings().await.unwrap();
        assert!(!settings.read_only() && settings.self_registration());
        db.close().await;
    });
}

#[test]
fn only_what_changes_is_logged() {
    testkit::on_both(async |test| {
        set(
            &test.db,
            &json!({ "read_only": true, "banner_message": "hello" }),
        )
        .await;
        assert_eq!(logged(&test.db).await.len(), 2);
        set(
            &test.db,
            &json!({ "read_only": true, "banner_message": "bye" }),
        )
        .await;
        let logged = logged(&test.db).await;
        assert_eq!(logged.len(), 3);
        assert_eq!(logged[0].0, "banner_message");
        assert_eq!(logged[0].1, r#"{"value":"bye"}"#);
    });
}
