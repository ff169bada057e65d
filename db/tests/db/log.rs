//! The change log.

use db::changes;
use model::change::Kind;
use serde_json::json;

use crate::given::{NOW, later};

#[test]
fn changes_are_read_back_newest_first_in_pages_and_trimmed_by_age() {
    testkit::on_both(async |test| {
        for (second, key) in [(0, "a"), (10, "b"), (20, "c")] {
            transact!(test.db, |tx| {
                changes::append(
                    tx,
                    Kind::SettingChanged,
                    key,
                    None,
                    &json!({ "value": key }),
                    later(second),
                )
                .await
            })
            .unwrap();
        }
        let all = changes::list(&mut test.db.reader().await.unwrap(), None, 10)
            .await
            .unwrap();
        assert_eq!(
            all.iter()
                .map(|change| change.key.as_str())
                .collect::<Vec<_>>(),
            ["c", "b", "a"]
        );
        let change = &all[2];
        assert_eq!(
            (
                change.origin.as_str(),
                change.kind.as_str(),
                change.payload.as_str(),
                change.at
            ),
            ("one", "setting.changed", r#"{"value":"a"}"#, NOW)
        );
        assert!(all.is_sorted_by(|a, b| a.clock > b.clock && a.id > b.id));
        let page = changes::list(&mut test.db.reader().await.unwrap(), Some(all[0].id), 1)
            .await
            .unwrap();
        assert_eq!(page[0].key, "b");
        assert_eq!(
            transact!(test.db, |tx| changes::trim(tx, later(20), 1).await).unwrap(),
            1
        );
        assert_eq!(
            transact!(test.db, |tx| changes::trim(tx, later(20), 10).await).unwrap(),
            1
        );
        assert_eq!(
            transact!(test.db, |tx| changes::trim(tx, later(20), 10).await).unwrap(),
            0
        );
    });
}

/// What a reader's cursor needs on PostgreSQL, where numbers are not in the order of commits.
#[test]
fn a_change_carries_the_transaction_that_made_it() {
    testkit::on_postgres(async |test| {
        for key in ["a", "b"] {
            transact!(test.db, |tx| changes::append(
                tx,
                Kind::SettingChanged,
                key,
                None,
                &json!({}),
                NOW
            )
            .await)
            .unwrap();
        }
        let transactions = test
            .db
            .reader()
            .await
            .unwrap()
            .rows("SELECT tx FROM changes ORDER BY id", &[], |row| row.int(0))
            .await
            .unwrap();
        assert!(
            transactions[0] > 0 && transactions[0] < transactions[1],
            "{transactions:?}"
        );
    });
}
