//! Upload sessions: who takes one writes, who lost it does not.

use db::{
    Db,
    uploads::{self, End, Upload},
};
use model::time::Timestamp;

use crate::given::{NOW, digest, later};

const ID: &str = "0123";
const APP: &str = "library/app";

/// Of an upload that has left nothing behind.
fn end(epoch: i64, received: u64, content: u64) -> End {
    End {
        epoch,
        received,
        digest: digest(content),
        leaves: false,
    }
}

async fn take(db: &Db, seen: Option<Upload>, whole: bool, now: Timestamp) -> Option<i64> {
    transact!(db, [seen], |tx| uploads::take(
        tx,
        ID,
        APP,
        seen.as_ref(),
        whole,
        now
    )
    .await)
    .unwrap()
}

#[test]
fn one_that_expired_is_over_before_it_is_forgotten() {
    testkit::on_both(async |test| {
        let row = async || {
            let reader = &mut *test.db.reader().await.unwrap();
            uploads::find(reader, ID).await.unwrap()
        };
        take(&test.db, None, false, NOW).await.unwrap();
        let seen = row().await.unwrap();
        let ended = transact!(test.db, [seen], |tx| uploads::end_expired(tx, &seen).await);
        assert!(ended.unwrap());
        assert_eq!(take(&test.db, Some(seen.clone()), false, NOW).await, None);
        let finished = transact!(test.db, |tx| uploads::finish(
            tx,
            ID,
            APP,
            &end(1, 7, 1),
            NOW
        )
        .await);
        assert!(!finished.unwrap());
        assert!(row().await.unwrap().cancelled);
        assert!(transact!(test.db, [seen], |tx| uploads::expire(tx, &seen).await).unwrap());
    });
}

#[test]
fn what_left_nothing_behind_has_no_name_in_the_store() {
    testkit::on_both(async |test| {
        for (id, leaves, file) in [("a", true, "a"), ("b", false, "")] {
            let end = End {
                leaves,
                ..end(1, 7, 1)
            };
            let finished = transact!(test.db, [end], |tx| {
                uploads::take(tx, id, APP, None, true, NOW).await?;
                uploads::finish(tx, id, APP, &end, NOW).await
            });
            assert!(finished.unwrap());
            let reader = &mut *test.db.reader().await.unwrap();
            assert_eq!(uploads::find(reader, id).await.unwrap().unwrap().file, file);
        }
    });
}

#[test]
fn where_there_is_no_file_all_of_a_session_is_taken() {
    testkit::on_both(async |test| {
        let other = test.node("two").await;
        let row = async || {
            let reader = &mut *test.db.reader().await.unwrap();
            uploads::find(reader, ID).await.unwrap()
        };
        take(&test.db, None, true, NOW).await.unwrap();
        take(&other, row().await, false, NOW).await.unwrap();
        assert_eq!(
            row().await.unwrap().node,
            "one",
            "its file is the first one's"
        );
        take(&other, row().await, true, NOW).await.unwrap();
        assert_eq!(row().await.unwrap().node, "two");
    });
}

#[test]
fn whoever_takes_a_session_writes_and_the_loser_does_not() {
    testkit::on_both(async |test| {
        let first = take(&test.db, None, false, NOW).await.unwrap();
        assert!(
            transact!(test.db, |tx| uploads::advance(
                tx,
                ID,
                first,
                10,
                Some(b"ab"),
                NOW
            )
            .await)
            .unwrap()
        );
        assert_eq!(take(&test.db, None, false, NOW).await, None);
        let other = test.node("two").await;
        let seen = uploads::find(&mut test.db.reader().await.unwrap(), ID)
            .await
            .unwrap();
        let second = take(&other, seen.clone(), false, later(1)).await.unwrap();
        assert!(second > first);

        assert_eq!(
            transact!(test.db, [seen], |tx| uploads::take(
                tx,
                ID,
                APP,
                seen.as_ref(),
                false,
                NOW
            )
            .await)
            .unwrap(),
            None
        );
        assert!(
            !transact!(test.db, |tx| uploads::advance(tx, ID, first, 99, None, NOW)
                .await)
            .unwrap()
        );
        assert!(
            !transact!(test.db, |tx| uploads::finish(
                tx,
                ID,
                APP,
                &end(first, 99, 9),
                NOW
            )
            .await)
            .unwrap()
        );
        let row = uploads::find(&mut test.db.reader().await.unwrap(), ID)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (row.received, row.epoch, row.node.as_str()),
            (10, second, "one"),
            "the first has not let go of its file"
        );
        assert_eq!(
            (row.hash_state.as_deref(), row.repository.as_str()),
            (Some(&b"ab"[..]), APP)
        );

        // Without a new state the old one stays, and counts for the bytes it was flushed with.
        assert!(
            transact!(other, |tx| uploads::advance(
                tx,
                ID,
                second,
                20,
                None,
                later(2)
            )
            .await)
            .unwrap()
        );
        let row = uploads::find(&mut test.db.reader().await.unwrap(), ID)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (row.received, row.hash_state.as_deref()),
            (20, Some(&b"ab"[..]))
        );
        other.close().await;
    });
}

#[test]
fn a_finished_session_stays_as_it_was_finished() {
    testkit::on_both(async |test| {
        let epoch = transact!(test.db, |tx| uploads::take(tx, ID, APP, None, false, NOW)
            .await)
        .unwrap()
        .unwrap();
        transact!(test.db, |tx| uploads::advance(
            tx,
            ID,
            epoch,
            20,
            Some(b"ab"),
            NOW
        )
        .await)
        .unwrap();
        assert!(
            transact!(test.db, |tx| uploads::finish(
                tx,
                ID,
                APP,
                &end(epoch, 20, 9),
                NOW
            )
            .await)
            .unwrap()
        );
        for written in [
            transact!(test.db, |tx| uploads::finish(
                tx,
                ID,
                APP,
                &end(epoch, 20, 8),
                NOW
            )
            .await),
            transact!(test.db, |tx| uploads::advance(tx, ID, epoch, 30, None, NOW)
                .await),
        ] {
            assert!(!written.unwrap());
        }
        let cancelled = transact!(test.db, |tx| uploads::cancel(tx, ID, APP, NOW).await);
        assert_eq!(cancelled.unwrap(), None);
        let row = uploads::find(&mut test.db.reader().await.unwrap(), ID)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (row.received, row.finished, row.hash_state),
            (20, Some(digest(9)), None)
        );
    });
}

#[test]
fn of_two_takers_at_once_one_wins() {
    testkit::on_both(async |test| {
        for _ in 0..3 {
            let seen = uploads::find(&mut test.db.reader().await.unwrap(), ID)
                .await
                .unwrap();
            let take = async || {
                transact!(test.db, [seen], |tx| uploads::take(
                    tx,
                    ID,
                    APP,
                    seen.as_ref(),
                    false,
                    NOW
                )
                .await)
                .unwrap()
            };
            let (a, b, c) = tokio::join!(take(), take(), take());
            assert_eq!([a, b, c].iter().flatten().count(), 1, "{a:?} {b:?} {c:?}");
        }
    });
}

#[test]
fn a_cancelled_session_cannot_be_continued() {
    testkit::on_both(async |test| {
        let epoch = transact!(test.db, |tx| uploads::take(tx, ID, APP, None, false, NOW)
            .await)
        .unwrap()
        .unwrap();
        let cancel =
            async || transact!(test.db, |tx| uploads::cancel(tx, ID, APP, NOW).await).unwrap();
        assert_eq!(cancel().await.as_deref(), Some(ID));
        assert_eq!(cancel().await, None);
        assert!(
            !transact!(test.db, |tx| uploads::advance(tx, ID, epoch, 1, None, NOW)
                .await)
            .unwrap()
        );
        assert!(
            !transact!(test.db, |tx| uploads::finish(
                tx,
                ID,
                APP,
                &end(epoch, 1, 1),
                NOW
            )
            .await)
            .unwrap()
        );
        // Also when it was never begun, since its signed id would open it.
        assert!(
            transact!(test.db, |tx| uploads::cancel(tx, "4567", APP, NOW).await)
                .unwrap()
                .is_some()
        );
        assert!(
            !transact!(test.db, |tx| uploads::finish(
                tx,
                "4567",
                APP,
                &end(1, 1, 1),
                NOW
            )
            .await)
            .unwrap()
        );
        let row = uploads::find(&mut test.db.reader().await.unwrap(), "4567")
            .await
            .unwrap()
            .unwrap();
        assert!(row.cancelled);
    });
}

#[test]
fn a_monolithic_upload_needs_no_row_before() {
    testkit::on_both(async |test| {
        let finish = async |epoch| {
            transact!(test.db, |tx| uploads::finish(
                tx,
                ID,
                APP,
                &end(epoch, 7, 1),
                NOW
            )
            .await)
            .unwrap()
        };
        // A session that had a row and has none any more has expired.
        assert!(!finish(1).await);
        assert!(finish(0).await);
        assert!(!finish(0).await, "it is finished once");
        let row = uploads::find(&mut test.db.reader().await.unwrap(), ID)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((row.received, row.finished), (7, Some(digest(1))));
    });
}

#[test]
fn sessions_expire_by_their_own_time_and_finished_ones_by_theirs() {
    testkit::on_both(async |test| {
        for (id, at) in [("a", NOW), ("b", later(10)), ("c", later(20))] {
            transact!(test.db, |tx| uploads::take(tx, id, APP, None, false, at)
                .await)
            .unwrap();
        }
        transact!(test.db, |tx| uploads::finish(
            tx,
            "d",
            APP,
            &end(0, 7, 1),
            later(5)
        )
        .await)
        .unwrap();
        transact!(test.db, |tx| uploads::cancel(tx, "e", APP, later(6)).await).unwrap();
        let expired = async |unfinished, finished| {
            let reader = &mut *test.db.reader().await.unwrap();
            let rows = uploads::expired(reader, later(unfinished), later(finished), 10)
                .await
                .unwrap();
            rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
        };
        assert_eq!(expired(1, 6).await, ["a", "d"]);
        assert_eq!(expired(0, 100).await, ["d"]);
        // Also when sessions are kept for less time than finished ones.
        assert_eq!(expired(15, 6).await, ["a", "d", "e", "b"]);
        assert_eq!(expired(100, 0).await, ["a", "e", "b", "c"]);

        let seen = uploads::find(&mut test.db.reader().await.unwrap(), "a")
            .await
            .unwrap()
            .unwrap();
        transact!(test.db, |tx| uploads::advance(
            tx,
            "a",
            1,
            5,
            None,
            later(30)
        )
        .await)
        .unwrap();
        assert!(
            !transact!(test.db, [seen], |tx| uploads::expire(tx, &seen).await).unwrap(),
            "somebody went on with it"
        );
        let seen = uploads::find(&mut test.db.reader().await.unwrap(), "a")
            .await
            .unwrap()
            .unwrap();
        assert!(transact!(test.db, [seen], |tx| uploads::expire(tx, &seen).await).unwrap());
        let rest = uploads::list(&mut test.db.reader().await.unwrap(), "b", 2)
            .await
            .unwrap();
        assert_eq!(
            rest.into_iter().map(|row| row.id).collect::<Vec<_>>(),
            ["c", "d"]
        );
    });
}

#[test]
fn a_session_is_taken_only_as_it_was_seen() {
    testkit::on_both(async |test| {
        let epoch = transact!(test.db, |tx| uploads::take(tx, ID, APP, None, false, NOW)
            .await)
        .unwrap()
        .unwrap();
        let find = async || {
            uploads::find(&mut test.db.reader().await.unwrap(), ID)
                .await
                .unwrap()
        };
        let seen = find().await;
        let taken = async |seen: Option<uploads::Upload>| {
            transact!(test.db, [seen], |tx| uploads::take(
                tx,
                ID,
                APP,
                seen.as_ref(),
                false,
                later(9)
            )
            .await)
            .unwrap()
        };
        transact!(test.db, |tx| uploads::advance(tx, ID, epoch, 20, None, NOW)
            .await)
        .unwrap();
        assert_eq!(taken(seen).await, None, "it has come further since");
        let seen = find().await;
        assert!(transact!(test.db, |tx| uploads::abandon(tx, ID, epoch, NOW).await).unwrap());
        assert_eq!(taken(seen).await, None);
        assert_eq!(taken(find().await).await, None, "it has ended");
        assert_eq!(find().await.unwrap().updated_at, NOW);
    });
}

#[test]
fn a_file_is_its_nodes_until_that_lets_go() {
    testkit::on_both(async |test| {
        let two = test.node("two").await;
        let find = async || {
            uploads::find(&mut test.db.reader().await.unwrap(), ID)
                .await
                .unwrap()
        };
        let of_file = async |file| {
            uploads::find_by_file(&mut test.db.reader().await.unwrap(), file)
                .await
                .unwrap()
                .is_some()
        };
        let take = async |seen: Option<uploads::Upload>| {
            transact!(two, [seen], |tx| uploads::take(
                tx,
                ID,
                APP,
                seen.as_ref(),
                false,
                NOW
            )
            .await)
            .unwrap()
            .unwrap()
        };
        transact!(test.db, |tx| uploads::take(tx, ID, APP, None, false, NOW)
            .await)
        .unwrap();
        let epoch = take(find().await).await;
        assert_eq!(find().await.unwrap().node, "one");
        assert!(of_file(ID).await && !of_file("0123-2").await);
        assert!(
            transact!(two, |tx| uploads::change_file(
                tx, ID, epoch, "0123-2", None, NOW
            )
            .await)
            .unwrap()
        );
        assert!(!of_file(ID).await && of_file("0123-2").await);
        assert_eq!(find().await.unwrap().node, "two");
        assert!(
            transact!(two, |tx| uploads::put_aside(
                tx,
                ID,
                epoch,
                7,
                Some(b"ab"),
                NOW
            )
            .await)
            .unwrap()
        );
        assert_eq!(find().await.unwrap().node, "");
        take(find().await).await;
        let row = find().await.unwrap();
        assert_eq!(
            (row.node.as_str(), row.file.as_str(), row.received),
            ("two", "0123-2", 7)
        );
        two.close().await;
    });
}
