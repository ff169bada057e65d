//! Repositories, manifests, links and contents.

use std::{sync::Arc, time::Duration};

use db::{
    artifacts::{self, NewArtifact},
    blobs::{self, State},
    consistency, links, repositories,
};
use model::{
    Error,
    id::{ArtifactId, BlobId, RepositoryId, TagId},
};
use oci::name::RepoName;
use tokio::sync::Semaphore;

use crate::given::{
    NOW, assert_kind, blob, changes, digest, find, held, later, manifest, project, repository, tag,
};

const NONE: BlobId = BlobId(0);

#[test]
fn a_repository_is_made_once_by_whoever_is_first() {
    testkit::on_both(async |test| {
        let library = project(&test.db, "library").await;
        let name: RepoName = "library/app".parse().unwrap();
        let make = async || {
            transact!(test.db, [name], |tx| repositories::ensure(
                tx, library.id, &name, NOW
            )
            .await)
            .unwrap()
        };
        let (a, b, c, d) = tokio::join!(make(), make(), make(), make());
        assert!([b, c, d].iter().all(|id| *id == a));
        let created = changes(&test.db).await;
        assert_eq!(
            created
                .iter()
                .filter(|change| *change == "repository.created library/app")
                .count(),
            1
        );
        let reader = &mut *test.db.reader().await.unwrap();
        assert_eq!(
            repositories::find(reader, "library/app").await.unwrap(),
            Some(a)
        );
        assert_eq!(
            repositories::find(reader, "library/App").await.unwrap(),
            None
        );
    });
}

#[test]
fn repositories_are_listed_by_byte_and_the_catalog_leaves_out_empty_ones() {
    testkit::on_both(async |test| {
        let sorted = [
            "library/a",
            "library/a-b",
            "library/a.b",
            "library/a/b",
            "library/a0",
            "library/a_b",
            "library/aa",
        ];
        for name in [
            "library/aa",
            "library/a_b",
            "library/a",
            "library/a/b",
            "library/a0",
            "library/a-b",
            "library/a.b",
        ] {
            repository(&test.db, name).await;
        }
        repository(&test.db, "other/app").await;
        let library = project_of(test, "library").await;
        for (index, name) in sorted.iter().enumerate() {
            let listed =
                repositories::list(&mut test.db.reader().await.unwrap(), library, name, 100)
                    .await
                    .unwrap();
            assert_eq!(listed, sorted[index + 1..]);
        }
        for (number, name) in [(1, "library/a_b"), (2, "library/a-b")] {
            let id = repository(&test.db, name).await;
            manifest(&test.db, id, number, &[], &[]).await;
        }
        let reader = &mut *test.db.reader().await.unwrap();
        assert_eq!(
            repositories::catalog(reader, "", 10).await.unwrap(),
            ["library/a-b", "library/a_b"]
        );
        assert_eq!(
            repositories::catalog(reader, "", 1).await.unwrap(),
            ["library/a-b"]
        );
        assert_eq!(
            repositories::catalog(reader, "library/a-b", 10)
                .await
                .unwrap(),
            ["library/a_b"]
        );
    });
}

async fn project_of(test: &testkit::TestDatabase, name: &str) -> model::id::ProjectId {
    db::projects::get_name(&mut test.db.reader().await.unwrap(), name)
        .await
        .unwrap()
        .id
}

#[test]
fn a_manifest_is_kept_once_with_what_it_names() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let (config, layer) = (held(&test.db, app, 1).await, held(&test.db, app, 2).await);
        let image = manifest(&test.db, app, 10, &[config, layer, layer], &[]).await;
        let index = manifest(&test.db, app, 11, &[], &[image]).await;
        let seen = test.db.generations().of(app);
        let again = NewArtifact {
            digest: digest(10),
            blob: config,
            media_type: String::new(),
            artifact_type: None,
            config_media_type: None,
            size: 0,
            subject: None,
            annotations: None,
            blobs: vec![],
            children: vec![],
        };
        let same = transact!(test.db, [again], |tx| artifacts::ensure(
            tx,
            app,
            "library/app",
            &again,
            NOW
        )
        .await);
        assert_eq!(same.unwrap(), image);
        assert_eq!(
            test.db.generations().of(app),
            seen,
            "nothing changed, so nothing is out of date"
        );
        let found = find(&test.db, app, 10).await.unwrap();
        assert_eq!(
            (found.id, found.digest, found.state, found.size),
            (image, digest(10), State::Live, 100)
        );
        let reader = &mut *test.db.reader().await.unwrap();
        for content in [config, layer] {
            assert!(links::is_named(reader, app, content).await.unwrap());
        }
        assert!(!links::is_named(reader, app, NONE).await.unwrap());
        assert_eq!(
            artifacts::find_parent(reader, image).await.unwrap(),
            Some(digest(11))
        );
        assert_eq!(artifacts::find_parent(reader, index).await.unwrap(), None);
        let children = artifacts::children(reader, app, &[digest(11), digest(10), digest(99)])
            .await
            .unwrap();
        assert_eq!(
            children,
            [(image, digest(10), 300), (index, digest(11), 300)]
        );
    });
}

#[test]
fn a_manifest_that_an_index_names_is_not_deleted() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let layer = held(&test.db, app, 1).await;
        let image = manifest(&test.db, app, 10, &[layer], &[]).await;
        manifest(&test.db, app, 11, &[], &[image]).await;
        tag(&test.db, app, "latest", image, 10).await;
        let (found, index) = (
            find(&test.db, app, 10).await.unwrap(),
            find(&test.db, app, 11).await.unwrap(),
        );
        let delete = async |artifact: artifacts::Artifact| {
            transact!(test.db, [artifact], |tx| {
                artifacts::delete(tx, app, "library/app", &artifact, later(5), NOW).await
            })
        };
        assert_kind(delete(found.clone()).await, |error| {
            matches!(error, Error::Precondition(_))
        });
        delete(index.clone()).await.unwrap();
        delete(found.clone()).await.unwrap();
        assert_kind(delete(found).await, |error| {
            matches!(error, Error::NotFound(..))
        });
        let reader = &mut *test.db.reader().await.unwrap();
        assert!(
            artifacts::find_tagged(reader, app, "latest")
                .await
                .unwrap()
                .is_none()
        );
        assert!(!links::is_named(reader, app, layer).await.unwrap());
        // What it named is asked about when the grace is over.
        assert!(links::due(reader, later(4), 10).await.unwrap().is_empty());
        let due = links::due(reader, later(5), 10).await.unwrap();
        assert_eq!(
            due.iter()
                .filter(|due| due.blob == layer && due.repository == app)
                .count(),
            1
        );
    });
}

#[test]
fn referrers_come_in_pages_and_by_type() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let mut made = Vec::new();
        for number in 1..=5 {
            let own = held(&test.db, app, number).await;
            let kind = if number % 2 == 0 {
                "application/sbom"
            } else {
                "application/signature"
            };
            let new = NewArtifact {
                digest: digest(number),
                blob: own,
                media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
                artifact_type: Some(kind.to_owned()),
                config_media_type: None,
                size: 1,
                subject: Some(digest(99)),
                annotations: (number == 1).then(|| r#"{"a":"b"}"#.to_owned()),
                blobs: vec![own],
                children: vec![],
            };
            let id = transact!(test.db, [new], |tx| artifacts::ensure(
                tx,
                app,
                "library/app",
                &new,
                NOW
            )
            .await);
            made.push(id.unwrap());
        }
        let reader = &mut *test.db.reader().await.unwrap();
        let start = ArtifactId(0);
        let first = artifacts::referrers(reader, app, &digest(99), None, start, 2)
            .await
            .unwrap();
        assert_eq!(
            first.iter().map(|referrer| referrer.id).collect::<Vec<_>>(),
            made[..2]
        );
        assert_eq!(
            (
                first[0].annotations.as_deref(),
                first[1].annotations.as_deref()
            ),
            (Some(r#"{"a":"b"}"#), None)
        );
        let rest = artifacts::referrers(reader, app, &digest(99), None, made[1], 10)
            .await
            .unwrap();
        assert_eq!(
            rest.iter()
                .map(|referrer| referrer.digest)
                .collect::<Vec<_>>(),
            [digest(3), digest(4), digest(5)]
        );
        let of_type = artifacts::referrers(
            reader,
            app,
            &digest(99),
            Some("application/sbom"),
            start,
            10,
        )
        .await
        .unwrap();
        assert_eq!(
            of_type
                .iter()
                .map(|referrer| referrer.id)
                .collect::<Vec<_>>(),
            [made[1], made[3]]
        );
        assert!(
            artifacts::referrers(reader, app, &digest(98), None, start, 10)
                .await
                .unwrap()
                .is_empty()
        );
        let elsewhere = RepositoryId(app.0 + 1);
        assert!(
            artifacts::referrers(reader, elsewhere, &digest(99), None, start, 10)
                .await
                .unwrap()
                .is_empty()
        );
    });
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
                links::find(reader, app, &digest(1))
                    .await
                    .unwrap()
                    .unwrap()
                    .id,
                layer
            );
            assert!(
                links::find(reader, app, &digest(2))
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
        let hold = transact!(test.db, |tx| links::hold(tx, app, &[digest(2), digest(1)])
            .await)
        .unwrap();
        assert_eq!(hold.iter().map(|blob| blob.id).collect::<Vec<_>>(), [layer]);
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
            links::find(&mut test.db.reader().await.unwrap(), app, &digest(1))
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
fn a_content_lives_is_condemned_claimed_freed_and_buried() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let (held, free) = (held(&test.db, app, 1).await, blob(&test.db, 2).await);
        let both = vec![held, free];
        assert!(
            !blobs::any_to_collect(&mut test.db.reader().await.unwrap(), later(99))
                .await
                .unwrap()
        );
        let condemned = transact!(test.db, [both], |tx| blobs::condemn_unheld(tx, &both, NOW)
            .await)
        .unwrap();
        assert_eq!(condemned, [free]);
        assert!(!transact!(test.db, |tx| blobs::condemn_if_unheld(tx, held, NOW).await).unwrap());
        assert!(
            blobs::any_to_collect(&mut test.db.reader().await.unwrap(), later(99))
                .await
                .unwrap()
        );
        let listed = blobs::condemned(&mut test.db.reader().await.unwrap(), NONE, 10)
            .await
            .unwrap();
        assert_eq!(
            listed.iter().map(|blob| blob.id).collect::<Vec<_>>(),
            [free]
        );
        assert!(
            blobs::condemned(&mut test.db.reader().await.unwrap(), free, 10)
                .await
                .unwrap()
                .is_empty()
        );

        // Taken back by a push, condemned again, then the final step.
        transact!(test.db, |tx| blobs::revive(tx, free, 100, NOW).await).unwrap();
        assert!(transact!(test.db, |tx| blobs::condemn_if_unheld(tx, free, NOW).await).unwrap());
        let claimed = transact!(test.db, [both], |tx| blobs::claim_unheld(tx, &both, NOW)
            .await)
        .unwrap();
        assert_eq!(claimed, [free]);
        transact!(test.db, |tx| blobs::revive(tx, free, 100, NOW).await).unwrap();
        let newest = blobs::newest(&mut test.db.reader().await.unwrap(), &digest(2))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(newest.state, State::Deleting, "the final step is final");

        // A push stores beside it.
        let beside = transact!(test.db, |tx| blobs::insert(
            tx,
            &digest(2),
            1,
            100,
            "data.1",
            NOW
        )
        .await)
        .unwrap();
        let twice = transact!(test.db, |tx| blobs::insert(
            tx,
            &digest(2),
            2,
            100,
            "data.2",
            NOW
        )
        .await)
        .unwrap();
        assert!(
            beside.is_some() && twice.is_none(),
            "one generation lives at a time"
        );
        let locked =
            transact!(test.db, |tx| blobs::lock(tx, &[digest(2), digest(1)]).await).unwrap();
        assert_eq!(
            locked.iter().map(|blob| blob.id).collect::<Vec<_>>(),
            [held, beside.unwrap()]
        );

        let claimed = blobs::claimed(&mut test.db.reader().await.unwrap(), NONE, 10)
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
            blobs::claimed(&mut test.db.reader().await.unwrap(), NONE, 10)
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(
            transact!(test.db, |tx| blobs::bury(tx, NOW, 10).await).unwrap(),
            0
        );
        assert_eq!(
            transact!(test.db, |tx| blobs::bury(tx, later(1), 10).await).unwrap(),
            1
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
        assert_eq!(all[0].state, State::Live, "only what was claimed is freed");
    });
}

#[test]
fn lost_and_damaged_contents_are_healed_by_the_next_push() {
    testkit::on_both(async |test| {
        let id = blob(&test.db, 1).await;
        assert!(transact!(test.db, |tx| blobs::mark_lost(tx, id, NOW).await).unwrap());
        assert!(!transact!(test.db, |tx| blobs::mark_lost(tx, id, NOW).await).unwrap());
        transact!(test.db, |tx| blobs::revive(tx, id, 100, NOW).await).unwrap();
        let seen = transact!(test.db, |tx| blobs::lock_newest(tx, &digest(1)).await)
            .unwrap()
            .unwrap();
        assert_eq!(seen.state, State::Live);
        let damaged = transact!(test.db, [seen], |tx| blobs::mark_damaged(tx, &seen, NOW)
            .await)
        .unwrap()
        .unwrap();
        assert_eq!(
            (damaged.state, damaged.generation, damaged.location.as_str()),
            (State::Lost, 1, "data.1")
        );
        let again = transact!(test.db, [seen], |tx| blobs::mark_damaged(tx, &seen, NOW)
            .await)
        .unwrap();
        assert!(again.is_none(), "the row moved on");
        assert!(
            transact!(test.db, [damaged], |tx| blobs::unmark_lost(
                tx, &damaged, "data", NOW
            )
            .await)
            .unwrap()
        );
        assert!(
            !transact!(test.db, [damaged], |tx| blobs::unmark_lost(
                tx, &damaged, "data", NOW
            )
            .await)
            .unwrap()
        );
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
        transact!(test.db, |tx| blobs::mark_lost(tx, two, NOW).await).unwrap();
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

#[test]
fn what_no_constraint_can_say_is_found_and_mended() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let layer = held(&test.db, app, 1).await;
        let image = manifest(&test.db, app, 10, &[layer], &[]).await;
        tag(&test.db, app, "latest", image, 11).await; // a tag that says another digest than its manifest has
        transact!(test.db, |tx| tx
            .execute("DELETE FROM repository_blobs", &[])
            .await)
        .unwrap();
        let (last, loose, unlinked) = {
            let reader = &mut *test.db.reader().await.unwrap();
            let (last, count) = consistency::next_artifacts(reader, ArtifactId(0), 10)
                .await
                .unwrap()
                .unwrap();
            assert_eq!((last, count), (image, 1));
            let (last_tag, _) = consistency::next_tags(reader, TagId(0), 10)
                .await
                .unwrap()
                .unwrap();
            let loose = consistency::loose_tags(reader, TagId(0), last_tag)
                .await
                .unwrap();
            (
                last,
                loose,
                consistency::unlinked(reader, ArtifactId(0), last)
                    .await
                    .unwrap(),
            )
        };
        assert_eq!((loose.len(), unlinked.len()), (1, 2));
        assert_eq!(loose[0].points_at, Some(digest(10)));
        for unlinked in unlinked {
            assert!(
                transact!(test.db, [unlinked], |tx| consistency::link(
                    tx, &unlinked, NOW
                )
                .await)
                .unwrap()
            );
        }
        for loose in loose {
            transact!(test.db, [loose], |tx| consistency::mend_tag(tx, &loose)
                .await)
            .unwrap();
        }
        let reader = &mut *test.db.reader().await.unwrap();
        assert!(
            consistency::unlinked(reader, ArtifactId(0), last)
                .await
                .unwrap()
                .is_empty()
        );
        assert!(
            consistency::loose_tags(reader, TagId(0), TagId(i64::MAX))
                .await
                .unwrap()
                .is_empty()
        );
    });
}

/// A statement that waited for a lock sees its other tables as they were before: so the lock comes first.
#[test]
fn a_push_that_waited_for_the_collector_sees_what_it_took() {
    testkit::on_postgres(async |test| {
        let app = repository(&test.db, "library/app").await;
        let layer = held(&test.db, app, 1).await;
        let (locked, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let collect = async {
            transact!(test.db, [locked, go_on], |tx| {
                blobs::lock(tx, &[digest(1)]).await?;
                locked.add_permits(1);
                let _ = go_on.acquire().await;
                links::remove_unless_named(tx, app, layer).await
            })
        };
        let push = async {
            let _ = locked.acquire().await;
            let holding =
                async { transact!(test.db, |tx| links::hold(tx, app, &[digest(1)]).await) };
            let mut holding = std::pin::pin!(holding);
            let early = tokio::time::timeout(Duration::from_millis(200), &mut holding).await;
            assert!(early.is_err(), "the push did not wait: {early:?}");
            go_on.add_permits(1);
            holding.await.unwrap()
        };
        let (collected, held) = tokio::join!(collect, push);
        assert!(collected.unwrap());
        assert!(
            held.is_empty(),
            "the push was told that the repository still holds it: {held:?}"
        );
    });
}

/// The other way round: what a push holds, the collector does not take.
#[test]
fn the_collector_waits_for_a_push_and_then_leaves_its_content_alone() {
    testkit::on_postgres(async |test| {
        let app = repository(&test.db, "library/app").await;
        let layer = held(&test.db, app, 1).await;
        let own = held(&test.db, app, 10).await;
        let (holding, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let new = NewArtifact {
            digest: digest(10),
            blob: own,
            media_type: String::new(),
            artifact_type: None,
            config_media_type: None,
            size: 0,
            subject: None,
            annotations: None,
            blobs: vec![layer],
            children: vec![],
        };
        let push = async {
            transact!(test.db, [new, holding, go_on], |tx| {
                links::hold(tx, app, &[digest(1)]).await?;
                holding.add_permits(1);
                let _ = go_on.acquire().await;
                artifacts::ensure(tx, app, "library/app", &new, NOW).await
            })
        };
        let collect = async {
            let _ = holding.acquire().await;
            let collecting = async {
                transact!(test.db, |tx| {
                    blobs::lock(tx, &[digest(1)]).await?;
                    links::collect(tx, app, &[layer], later(1_000_000)).await
                })
            };
            let mut collecting = std::pin::pin!(collecting);
            let early = tokio::time::timeout(Duration::from_millis(200), &mut collecting).await;
            assert!(early.is_err(), "the collector did not wait: {early:?}");
            go_on.add_permits(1);
            collecting.await.unwrap()
        };
        let (pushed, taken) = tokio::join!(push, collect);
        pushed.unwrap();
        assert!(taken.is_empty(), "{taken:?}");
    });
}

/// Deleted between the moment it was found and the moment it is tagged, a manifest would leave the tag without one.
#[test]
fn a_manifest_is_not_deleted_while_it_is_tagged() {
    testkit::on_postgres(async |test| {
        let app = repository(&test.db, "library/app").await;
        let image = manifest(&test.db, app, 10, &[], &[]).await;
        let found = find(&test.db, app, 10).await.unwrap();
        let (known, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let new = NewArtifact {
            digest: digest(10),
            blob: NONE,
            media_type: String::new(),
            artifact_type: None,
            config_media_type: None,
            size: 0,
            subject: None,
            annotations: None,
            blobs: vec![],
            children: vec![],
        };
        let push = async {
            transact!(test.db, [new, known, go_on], |tx| {
                let artifact = artifacts::ensure(tx, app, "library/app", &new, NOW).await?;
                known.add_permits(1);
                let _ = go_on.acquire().await;
                db::tags::set(
                    tx,
                    app,
                    "library/app",
                    &"v1".parse().unwrap(),
                    artifact,
                    &digest(10),
                    NOW,
                )
                .await
            })
        };
        let delete = async {
            let _ = known.acquire().await;
            let deleting = async {
                transact!(test.db, [found], |tx| artifacts::delete(
                    tx,
                    app,
                    "library/app",
                    &found,
                    NOW,
                    NOW
                )
                .await)
            };
            let mut deleting = std::pin::pin!(deleting);
            let early = tokio::time::timeout(Duration::from_millis(200), &mut deleting).await;
            assert!(early.is_err(), "the deletion did not wait: {early:?}");
            go_on.add_permits(1);
            deleting.await
        };
        let (pushed, deleted) = tokio::join!(push, delete);
        pushed.unwrap();
        deleted.unwrap();
        // The deletion came second, so the tag went with the manifest.
        let reader = &mut *test.db.reader().await.unwrap();
        assert!(
            artifacts::find_tagged(reader, app, "v1")
                .await
                .unwrap()
                .is_none()
        );
        assert!(image.0 > 0);
    });
}
