//! Contents and who holds them.

use db::{
    Db,
    blobs::{self, Lock, State, tombstones},
    links,
};
use model::{id::BlobId, time::Timestamp};

use crate::given::{NOW, blob, digest, held, later, manifest, repository};

const NONE: BlobId = BlobId(0);

/// Clears the places of tombstones as a collection does, and forgets those that were cleared before.
async fn bury(db: &Db, before: Timestamp) -> u64 {
    let old = {
        let mut reader = db.reader().await.unwrap();
        tombstones::uncleared(&mut reader, before, 10).await
    };
    let old: Vec<BlobId> = old.unwrap().into_iter().map(|blob| blob.id).collect();
    transact!(db, [old], |tx| {
        tombstones::set_cleared(tx, &old, NOW).await?;
        tombstones::bury(tx, before, 10).await
    })
    .unwrap()
}

#[test]
fn a_content_is_read_only_where_it_is_held() {
    testkit::on_both(async |test| {
        let (app, other) = (
            repository(&test.db, "library/app").await,
            repository(&test.db, "library/other").await,
        );
        let layer = held(&test.db, app, 1).await;
        transact!(test.db, |tx| links::add(tx, other, layer, None, NOW).await).unwrap();
        {
            let reader = &mut *test.db.reader().await.unwrap();
            assert_eq!(
                links::find(reader, app.id, &digest(1))
                    .await
                    .unwrap()
                    .unwrap()
                    .id,
                layer
            );
            assert!(
                links::find(reader, app.id, &digest(2))
                    .await
                    .unwrap()
                    .is_none()
            );
            assert_eq!(
                links::holders(reader, &digest(1), 10).await.unwrap(),
                ["library/app", "library/other"]
            );
            assert_eq!(
                links::holders(reader, &digest(1), 1).await.unwrap(),
                ["library/app"]
            );
        }
        let held = transact!(test.db, |tx| {
            blobs::hold(tx, &[digest(2), digest(1)], Lock::Share).await?;
            links::held(tx, app.id, &[digest(2), digest(1)]).await
        })
        .unwrap();
        assert_eq!(held.iter().map(|blob| blob.id).collect::<Vec<_>>(), [layer]);
        assert!(
            transact!(test.db, |tx| links::remove_unless_named(tx, app, layer)
                .await)
            .unwrap()
        );
        assert!(
            !transact!(test.db, |tx| links::remove_unless_named(tx, app, layer)
                .await)
            .unwrap()
        );
        assert!(
            links::find(&mut test.db.reader().await.unwrap(), app.id, &digest(1))
                .await
                .unwrap()
                .is_none()
        );
        manifest(&test.db, other, 10, &[layer], &[]).await;
        assert!(
            !transact!(test.db, |tx| links::remove_unless_named(tx, other, layer)
                .await)
            .unwrap()
        );
    });
}

#[test]
fn due_links_end_unless_a_manifest_names_them() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let (named, unnamed) = (held(&test.db, app, 1).await, held(&test.db, app, 2).await);
        manifest(&test.db, app, 10, &[named], &[]).await;
        assert!(
            !links::any_due(&mut test.db.reader().await.unwrap(), later(86_399))
                .await
                .unwrap()
        );
        let tomorrow = later(86_400);
        assert!(
            links::any_due(&mut test.db.reader().await.unwrap(), tomorrow)
                .await
                .unwrap()
        );
        let would = links::unnamed(&mut test.db.reader().await.unwrap(), tomorrow, 10)
            .await
            .unwrap();
        assert_eq!(
            would
                .iter()
                .map(|link| (link.digest, link.held_elsewhere))
                .collect::<Vec<_>>(),
            [(digest(2), false)]
        );
        let ended = transact!(test.db, |tx| links::collect(
            tx,
            app,
            &[named, unnamed],
            tomorrow
        )
        .await)
        .unwrap();
        assert_eq!(ended, [unnamed]);
        let due = links::due(&mut test.db.reader().await.unwrap(), later(1_000_000), 10)
            .await
            .unwrap();
        assert!(
            due.iter().all(|due| due.blob != named),
            "a named one is not asked about again"
        );
    });
}

#[test]
fn what_nothing_holds_is_condemned_and_taken_back_by_a_push() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let (held, free) = (held(&test.db, app, 1).await, blob(&test.db, 2).await);
        let both = vec![held, free];
        let any = async || {
            tombstones::any_to_collect(&mut test.db.reader().await.unwrap(), later(99))
                .await
                .unwrap()
        };
        assert!(!any().await);
        let condemned = transact!(test.db, [both], |tx| blobs::condemn_unheld(tx, &both, NOW)
            .await)
        .unwrap();
        assert_eq!(condemned, [free]);
        assert!(any().await);
        let listed = blobs::in_state(
            &mut test.db.reader().await.unwrap(),
            State::Condemned,
            NONE,
            10,
        )
        .await
        .unwrap();
        assert_eq!(
            listed.iter().map(|blob| blob.id).collect::<Vec<_>>(),
            [free]
        );
        assert!(
            blobs::in_state(
                &mut test.db.reader().await.unwrap(),
                State::Condemned,
                free,
                10
            )
            .await
            .unwrap()
            .is_empty()
        );

        transact!(test.db, |tx| blobs::revive(tx, free, NOW).await).unwrap();
        assert!(!any().await);
        assert!(transact!(test.db, |tx| blobs::condemn_if_unheld(tx, free, NOW).await).unwrap());
        assert!(!transact!(test.db, |tx| blobs::condemn_if_unheld(tx, held, NOW).await).unwrap());
    });
}

#[test]
fn what_is_claimed_is_gone_for_good_and_buried_as_a_tombstone() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let (held, free) = (held(&test.db, app, 1).await, blob(&test.db, 2).await);
        let both = vec![held, free];
        transact!(test.db, |tx| blobs::condemn_if_unheld(tx, free, NOW).await).unwrap();
        let claimed = transact!(test.db, [both], |tx| blobs::claim_unheld(tx, &both, NOW)
            .await)
        .unwrap();
        assert_eq!(claimed, [free]);
        transact!(test.db, |tx| blobs::revive(tx, free, NOW).await).unwrap();
        let newest = blobs::newest(&mut test.db.reader().await.unwrap(), &digest(2))
            .await
            .unwrap();
        assert_eq!(
            newest.unwrap().state,
            State::Deleting,
            "the final step is final"
        );
        let claimed = blobs::claimed(&mut test.db.reader().await.unwrap(), NOW, NONE, 10)
            .await
            .unwrap();
        assert_eq!(
            claimed
                .iter()
                .map(|blob| blob.location.as_str())
                .collect::<Vec<_>>(),
            ["data"]
        );

        transact!(test.db, |tx| blobs::set_freed(tx, &[free, held], NOW).await).unwrap();
        assert!(
            blobs::claimed(&mut test.db.reader().await.unwrap(), NOW, NONE, 10)
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(bury(&test.db, NOW).await, 0);
        assert_eq!(bury(&test.db, later(1)).await, 1);
        let left = blobs::list(&mut test.db.reader().await.unwrap(), NONE, 10)
            .await
            .unwrap();
        assert_eq!(
            left.iter()
                .map(|blob| (blob.id, blob.state))
                .collect::<Vec<_>>(),
            [(held, State::Live)]
        );
    });
}

#[test]
fn one_generation_of_a_content_lives_at_a_time() {
    testkit::on_both(async |test| {
        let first = blob(&test.db, 2).await;
        let add = async |generation: i64| {
            transact!(test.db, |tx| {
                blobs::insert(
                    tx,
                    &digest(2),
                    generation,
                    100,
                    &blobs::location_of(generation),
                    NOW,
                )
                .await
            })
            .unwrap()
        };
        assert!(add(1).await.is_none(), "the first still lives");
        transact!(test.db, |tx| blobs::condemn_if_unheld(tx, first, NOW).await).unwrap();
        assert!(add(1).await.is_none(), "it may be taken back");
        transact!(test.db, |tx| blobs::claim_unheld(tx, &[first], NOW).await).unwrap();
        let second = add(1).await.unwrap();
        assert!(add(2).await.is_none());
        let locked =
            transact!(test.db, |tx| blobs::lock(tx, &[digest(2), digest(1)]).await).unwrap();
        assert_eq!(
            locked.iter().map(|blob| blob.id).collect::<Vec<_>>(),
            [second]
        );
        let all = blobs::find_all(
            &mut test.db.reader().await.unwrap(),
            &[digest(1), digest(2)],
        )
        .await
        .unwrap();
        assert_eq!(
            all.iter().map(|blob| blob.generation).collect::<Vec<_>>(),
            [0, 1]
        );
    });
}

#[test]
fn lost_and_damaged_contents_are_healed_by_the_next_push() {
    testkit::on_both(async |test| {
        let id = blob(&test.db, 1).await;
        let newest = async || {
            let reader = &mut *test.db.reader().await.unwrap();
            blobs::newest(reader, &digest(1)).await.unwrap().unwrap()
        };
        let seen = newest().await;
        let suspect = async || {
            transact!(test.db, [seen], |tx| blobs::set_suspect(tx, &seen, NOW)
                .await)
            .unwrap()
        };
        let lost = async |suspicion| {
            transact!(test.db, |tx| blobs::mark_lost(tx, id, suspicion, NOW).await).unwrap()
        };
        let push = async || {
            transact!(test.db, |tx| blobs::set_written(tx, id, 100, "data", NOW)
                .await)
            .unwrap();
        };
        let first = suspect().await.unwrap();
        assert!(newest().await.state.is_readable());
        assert_eq!(suspect().await, Some(first), "two share a suspicion");
        push().await;
        assert!(!lost(first).await, "a push was faster");
        let second = suspect().await.unwrap();
        assert!(
            !lost(first).await,
            "whoever read before the push knows less"
        );
        assert!(lost(second).await);
        assert_eq!(suspect().await, None, "it is lost already");
        assert!(!lost(second).await);
        push().await;
        assert_eq!(newest().await.state, State::Live);
        let third = suspect().await.unwrap();
        let damage = async |suspicion| {
            transact!(test.db, [seen], |tx| blobs::mark_damaged(
                tx, &seen, suspicion, NOW
            )
            .await)
            .unwrap()
        };
        assert!(damage(second).await.is_none());
        let damaged = damage(third).await.unwrap();
        assert_eq!(
            (damaged.state, damaged.generation, damaged.location.as_str()),
            (State::Lost, 1, "data.1")
        );
        assert!(damage(third).await.is_none(), "the row moved on");
        let unmark = async || {
            transact!(test.db, [damaged], |tx| blobs::unmark_lost(
                tx, &damaged, NOW
            )
            .await)
            .unwrap()
        };
        assert!(unmark().await);
        assert_eq!(newest().await.state, State::Live);
        assert!(!unmark().await);
    });
}

#[test]
fn contents_are_walked_checked_and_counted() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let (one, two) = (held(&test.db, app, 1).await, blob(&test.db, 2).await);
        {
            let reader = &mut *test.db.reader().await.unwrap();
            let unchecked = blobs::unchecked(reader, later(1), 10).await.unwrap();
            assert_eq!(
                unchecked.iter().map(|blob| blob.id).collect::<Vec<_>>(),
                [one, two]
            );
            assert!(blobs::unchecked(reader, NOW, 10).await.unwrap().is_empty());
            assert_eq!(blobs::list(reader, one, 10).await.unwrap()[0].id, two);
            let unheld = blobs::unheld(reader, NONE, two).await.unwrap();
            assert_eq!(unheld.iter().map(|blob| blob.id).collect::<Vec<_>>(), [two]);
        }
        transact!(test.db, |tx| blobs::set_checked(tx, &[one], later(5)).await).unwrap();
        transact!(test.db, |tx| blobs::set_size(tx, two, 50).await).unwrap();
        let seen = blobs::newest(&mut test.db.reader().await.unwrap(), &digest(2))
            .await
            .unwrap()
            .unwrap();
        transact!(test.db, [seen], |tx| {
            let suspicion = blobs::set_suspect(tx, &seen, NOW).await?.unwrap();
            blobs::mark_lost(tx, two, suspicion, NOW).await
        })
        .unwrap();
        let reader = &mut *test.db.reader().await.unwrap();
        assert_eq!(
            blobs::totals(reader).await.unwrap(),
            [(State::Live, 1, 100), (State::Lost, 1, 50)]
        );
        assert!(
            blobs::unchecked(reader, later(5), 10)
                .await
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
fn bytes_that_no_row_knows_are_claimed_only_when_no_row_knows_them() {
    testkit::on_both(async |test| {
        blob(&test.db, 1).await;
        let known = transact!(test.db, |tx| blobs::claim_stray(
            tx,
            &digest(1),
            "data",
            9,
            NOW
        )
        .await)
        .unwrap();
        assert!(known.is_none());
        let beside = transact!(test.db, |tx| blobs::claim_stray(
            tx,
            &digest(1),
            "data.7",
            9,
            NOW
        )
        .await)
        .unwrap()
        .unwrap();
        assert_eq!(
            (beside.state, beside.location.as_str()),
            (State::Deleting, "data.7")
        );
        let newest = blobs::newest(&mut test.db.reader().await.unwrap(), &digest(1))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            newest.state,
            State::Live,
            "a living generation stays the newest"
        );
        let alone = transact!(test.db, |tx| blobs::claim_stray(
            tx,
            &digest(2),
            "data",
            9,
            NOW
        )
        .await)
        .unwrap()
        .unwrap();
        assert_eq!(alone.generation, 0);
    });
}
