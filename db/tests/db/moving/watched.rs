//! What a move writes down changes with, while other moves come and go.

use db::{Db, facts, moving};

use super::begun;
use crate::given;

/// A move that is over, and what it has made is still there.
async fn leave(db: &Db, id: &str) {
    moving::watch_contents(db, &begun(id)).await.unwrap();
    transact!(db, |tx| facts::delete(tx, moving::MOVING).await).unwrap();
}

async fn is_watched(db: &Db) -> bool {
    let reader = &mut *db.reader().await.unwrap();
    let sql = if reader.locks_rows() {
        "SELECT 1 FROM pg_trigger WHERE tgname = 'moved_blobs_insert'"
    } else {
        "SELECT 1 FROM sqlite_master WHERE name = 'moved_blobs_insert'"
    };
    reader.exists(sql, &[]).await.unwrap()
}

/// A move begins while what the one before has left is taken away: whichever comes first, what changes is written down.
#[test]
fn what_is_taken_away_of_one_move_is_not_the_next_ones() {
    testkit::on_both(async |test| {
        let db = &test.db;
        let app = given::repository(db, "library/app").await;
        for n in 0..5 {
            leave(db, "before").await;
            let next = begun("next");
            let (taken, begun) =
                tokio::join!(moving::unwatch(db), moving::watch_contents(db, &next));
            taken.unwrap();
            begun.unwrap();
            let id = given::held(db, app, n).await;
            assert_eq!(moving::changed_contents(db).await.unwrap(), [id]);
            moving::abort(db).await.unwrap();
        }
    });
}

/// The next one is given up too before the first has been cleared away: its triggers still find what they write to.
#[test]
fn what_a_move_left_that_came_and_went_meanwhile_fails_no_write() {
    testkit::on_both(async |test| {
        let db = &test.db;
        let app = given::repository(db, "library/app").await;
        for n in 0..5 {
            leave(db, "before").await;
            let came_and_went = async {
                while is_watched(db).await {
                    tokio::task::yield_now().await;
                }
                leave(db, "next").await;
            };
            let (taken, ()) = tokio::join!(moving::unwatch(db), came_and_went);
            taken.unwrap();
            given::held(db, app, n).await;
            moving::unwatch(db).await.unwrap();
            let reader = &mut *db.reader().await.unwrap();
            let left = reader.exists("SELECT 1 FROM moved_rows", &[]).await;
            assert!(left.is_err(), "{left:?}");
        }
    });
}

/// Given up while it still begins, on another node: it leaves no trigger that would fail whoever writes.
#[test]
fn a_move_that_is_given_up_while_it_begins_is_in_nobodys_way() {
    testkit::on_both(async |test| {
        let db = &test.db;
        let app = given::repository(db, "library/app").await;
        for n in 0..5 {
            let wanted = begun("store");
            let (begun, given_up) =
                tokio::join!(moving::watch_contents(db, &wanted), moving::abort(db));
            given_up.unwrap();
            if begun.is_ok() {
                moving::abort(db).await.unwrap();
            }
            given::held(db, app, n).await;
        }
    });
}
