//! Upload sessions: who takes one writes, who lost it does not.

use db::uploads;

use crate::given::{NOW, digest, later};

const ID: &str = "0123";
const APP: &str = "library/app";

#[test]
fn whoever_takes_a_session_writes_and_the_loser_does_not() {
    testkit::on_both(async |test| {
        let first = transact!(test.db, |tx| uploads::take(tx, ID, APP, None, NOW).await)
            .unwrap()
            .unwrap();
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
        assert_eq!(
            transact!(test.db, |tx| uploads::take(tx, ID, APP, None, NOW).await).unwrap(),
            None
        );
        let other = test.node("two").await;
        let second = transact!(other, |tx| uploads::take(
            tx,
            ID,
            APP,
            Some(first),
            later(1)
        )
        .await)
        .unwrap()
        .unwrap();
        assert!(second > first);

        assert_eq!(
            transact!(test.db, |tx| uploads::take(tx, ID, APP, Some(first), NOW)
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
                first,
                99,
                &digest(9),
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
            (10, second, "two")
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
        let epoch = transact!(test.db, |tx| uploads::take(tx, ID, APP, None, NOW).await)
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
                epoch,
                20,
                &digest(9),
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
                epoch,
                20,
                &digest(8),
                NOW
            )
            .await),
            transact!(test.db, |tx| uploads::advance(tx, ID, epoch, 30, None, NOW)
                .await),
            transact!(test.db, |tx| uploads::cancel(tx, ID, APP, NOW).await),
        ] {
            assert!(!written.unwrap());
        }
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
        for seen in [None, Some(1), Some(2)] {
            let take = async || {
                transact!(test.db, |tx| uploads::take(tx, ID, APP, seen, NOW).await).unwrap()
            };
            let (a, b, c) = tokio::join!(take(), take(), take());
            assert_eq!([a, b, c].iter().flatten().count(), 1, "{a:?} {b:?} {c:?}");
        }
    });
}

#[test]
fn a_cancelled_session_cannot_be_continued() {
    testkit::on_both(async |test| {
        let epoch = transact!(test.db, |tx| uploads::take(tx, ID, APP, None, NOW).await)
            .unwrap()
            .unwrap();
        assert!(transact!(test.db, |tx| uploads::cancel(tx, ID, APP, NOW).await).unwrap());
        assert!(!transact!(test.db, |tx| uploads::cancel(tx, ID, APP, NOW).await).unwrap());
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
                epoch,
                1,
                &digest(1),
                NOW
            )
            .await)
            .unwrap()
        );
        // Also when it was never begun, since its signed id would open it.
        assert!(transact!(test.db, |tx| uploads::cancel(tx, "4567", APP, NOW).await).unwrap());
        assert!(
            !transact!(test.db, |tx| uploads::finish(
                tx,
                "4567",
                APP,
                1,
                1,
                &digest(1),
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
        assert!(
            transact!(test.db, |tx| uploads::finish(
                tx,
                ID,
                APP,
                1,
                7,
                &digest(1),
                NOW
            )
            .await)
            .unwrap()
        );
        let row = uploads::find(&mut test.db.reader().await.unwrap(), ID)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((row.received, row.finished), (7, Some(digest(1))));
        assert!(transact!(test.db, |tx| uploads::delete(tx, ID).await).unwrap());
        assert!(!transact!(test.db, |tx| uploads::delete(tx, ID).await).unwrap());
    });
}

#[test]
fn sessions_expire_by_their_own_time_and_finished_ones_by_theirs() {
    testkit::on_both(async |test| {
        for (id, at) in [("a", NOW), ("b", later(10)), ("c", later(20))] {
            transact!(test.db, |tx| uploads::take(tx, id, APP, None, at).await).unwrap();
        }
        transact!(test.db, |tx| uploads::finish(
            tx,
            "d",
            APP,
            1,
            7,
            &digest(1),
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
        assert_eq!(expired(0, 100).await, ["d", "e"]);
        // Also when sessions are kept for less time than finished ones.
        assert_eq!(expired(15, 6).await, ["a", "d", "b"]);
        assert_eq!(expired(100, 0).await, ["a", "b", "c"]);

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
