//! Which store is a database's, when several processes begin with it and some of them die.

use std::{pin::pin, sync::Arc, time::Duration};

use db::{
    Db,
    store_id::{self, Known, Turn},
};
use model::Error;
use tokio::{sync::Notify, time::timeout};

use crate::given::assert_kind;

const LATER: Duration = Duration::from_mins(3);

/// Takes the turn, which is to be had.
async fn take(db: &Db, run: &str) -> (String, Vec<String>) {
    match store_id::take_turn(db, run, false).await.unwrap() {
        Turn::Ours { id, tried } => (id, tried),
        other => panic!("{other:?}"),
    }
}

async fn known(db: &Db) -> (Option<String>, Vec<String>) {
    let Known { id, tried, .. } = store_id::known(db).await.unwrap();
    (id, tried)
}

#[test]
fn of_many_that_begin_one_marks_a_store() {
    testkit::on_postgres(async |test| {
        let db = &test.db;
        let (id, tried) = take(db, "one").await;
        assert_eq!(tried, [""; 0]);
        let others = store_id::take_turn(db, "two", false).await.unwrap();
        assert_eq!(others, Turn::Anothers);
        assert_eq!(known(db).await, (None, vec![id.clone()]));
        assert!(store_id::finish(db, "one", &id).await.unwrap());
        let others = store_id::take_turn(db, "two", false).await.unwrap();
        assert_eq!(others, Turn::Over(id.clone()));
        assert_eq!(known(db).await, (Some(id.clone()), vec![id]));
    });
}

#[test]
fn who_was_slow_is_told_whether_another_store_was_marked_meanwhile() {
    testkit::on_postgres(async |test| {
        let db = &test.db;
        let (first, _) = take(db, "one").await;
        test.clock.advance(LATER);
        let (second, tried) = take(db, "two").await;
        assert_eq!(tried, std::slice::from_ref(&first));
        // In another store, where the first one's mark was not.
        assert!(!store_id::finish(db, "one", &first).await.unwrap());
        assert!(store_id::finish(db, "two", &second).await.unwrap());
        assert!(!store_id::finish(db, "one", &first).await.unwrap());
        let all = vec![first, second.clone()];
        assert_eq!(known(db).await, (Some(second), all));
    });
    testkit::on_postgres(async |test| {
        let db = &test.db;
        let (first, _) = take(db, "one").await;
        test.clock.advance(LATER);
        let (second, _) = take(db, "two").await;
        // In the same store, where it was.
        assert!(store_id::finish(db, "two", &first).await.unwrap());
        assert!(store_id::finish(db, "one", &first).await.unwrap());
        let all = vec![second, first.clone()];
        assert_eq!(known(db).await, (Some(first), all));
    });
}

#[test]
fn what_may_have_been_marked_is_known() {
    testkit::on_both(async |test| {
        let db = &test.db;
        let (first, _) = take(db, "one").await;
        store_id::give_back(db, "one").await.unwrap();
        let (_, tried) = take(db, "two").await;
        assert_eq!(tried, [first]);
    });
}

#[test]
fn nothing_else_gives_a_store_while_one_is_marked() {
    testkit::on_postgres(async |test| {
        let db = &test.db;
        take(db, "one").await;
        let refused = transact!(db, |tx| store_id::lock(tx).await);
        assert_kind(refused, |e| matches!(e, Error::Precondition(_)));
        store_id::give_back(db, "one").await.unwrap();
        // Whoever asks for the turn meanwhile waits for the end of the transaction.
        let (reached, goes_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let given = async {
            transact!(db, [reached, goes_on], |tx| {
                assert_eq!(store_id::lock(tx).await?.id, None);
                reached.notify_one();
                goes_on.notified().await;
                store_id::set(tx, "imported").await
            })
            .unwrap();
        };
        let asked = async {
            reached.notified().await;
            let mut turn = pin!(store_id::take_turn(db, "two", false));
            let early = timeout(Duration::from_millis(100), &mut turn).await;
            assert!(early.is_err(), "{early:?}");
            goes_on.notify_one();
            turn.await.unwrap()
        };
        let ((), turn) = tokio::join!(given, asked);
        assert_eq!(turn, Turn::Over("imported".to_owned()));
    });
}

#[test]
fn one_process_alone_goes_from_store_to_store_and_back() {
    testkit::on_sqlite(async |test| {
        let db = &test.db;
        transact!(db, |tx| store_id::set(tx, "before").await).unwrap();
        let turn = store_id::take_turn(db, "one", false).await.unwrap();
        assert_eq!(turn, Turn::Over("before".to_owned()));
        // Killed in its turn, it is not waited for.
        store_id::take_turn(db, "one", true).await.unwrap();
        let turn = store_id::take_turn(db, "two", true).await.unwrap();
        let Turn::Ours { id, .. } = turn else {
            panic!("{turn:?}")
        };
        assert!(store_id::finish(db, "two", &id).await.unwrap());
        let (now, left) = known(db).await;
        assert_eq!(now, Some(id));
        assert!(left.contains(&"before".to_owned()), "{left:?}");
    });
}
