//! Repositories and manifests.

use db::{
    artifacts::{self, NewArtifact},
    blobs::{self, State},
    consistency, links, repositories,
};
use model::{
    Error,
    id::{ArtifactId, RepositoryId, TagId},
};
use oci::name::RepoName;

use crate::given::{
    self, NOW, assert_kind, changes, digest, find, held, later, manifest, new_artifact, project,
    repository, tag,
};

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

/// The row of a manifest's own bytes.
async fn own_bytes(test: &testkit::TestDatabase, number: u64) -> model::id::BlobId {
    let reader = &mut *test.db.reader().await.unwrap();
    let newest = blobs::newest(reader, &digest(number)).await.unwrap();
    newest.unwrap().id
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
        let seen = test.db.generations().of(app.id);
        let again = new_artifact(10, own_bytes(test, 10).await, &[config]);
        let same = transact!(test.db, [again], |tx| artifacts::ensure(
            tx, app, &again, NOW
        )
        .await);
        assert_eq!(same.unwrap(), (image, false));
        assert_eq!(
            test.db.generations().of(app.id),
            seen,
            "nothing changed, so nothing is out of date"
        );
        let found = find(&test.db, app, 10).await.unwrap();
        assert_eq!(
            (found.id, found.digest, found.state, found.size),
            (image, digest(10), State::Live, 100)
        );
        let reader = &mut *test.db.reader().await.unwrap();
        assert_eq!(
            artifacts::find_parent(reader, image).await.unwrap(),
            Some(digest(11))
        );
        assert_eq!(artifacts::find_parent(reader, index).await.unwrap(), None);
        let children = transact!(test.db, |tx| {
            artifacts::hold(tx, app.id, &[digest(11), digest(10), digest(99)]).await
        })
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
                given::delete(tx, app, &artifact, later(5), NOW).await
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
            artifacts::find_tagged(reader, app.id, "latest")
                .await
                .unwrap()
                .is_none()
        );
        // What it named is asked about when the grace is over.
        assert!(links::due(reader, later(4), 10).await.unwrap().is_empty());
        let due = links::due(reader, later(5), 10).await.unwrap();
        assert_eq!(
            due.iter()
                .filter(|due| due.blob == layer && due.repository == *app)
                .count(),
            1
        );
    });
}

#[test]
fn a_manifest_that_was_kept_without_all_it_names_is_completed_by_the_next_push() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let image = manifest(&test.db, app, 10, &[], &[]).await;
        let layer = held(&test.db, app, 1).await;
        let new = new_artifact(10, own_bytes(test, 10).await, &[layer]);
        let push = async || {
            transact!(test.db, [new], |tx| {
                artifacts::ensure(tx, app, &new, NOW).await
            })
            .unwrap()
        };
        assert_eq!(push().await, (image, true));
        assert_eq!(push().await, (image, false));
        let taken = transact!(test.db, |tx| {
            links::collect(tx, app, &[layer], later(1_000_000)).await
        });
        assert_eq!(taken.unwrap(), [], "the manifest names it now");
    });
}

#[test]
fn what_somebody_uploaded_again_stays_fresh_when_a_manifest_that_names_it_goes() {
    testkit::on_both(async |test| {
        let app = repository(&test.db, "library/app").await;
        let layer = held(&test.db, app, 1).await;
        manifest(&test.db, app, 10, &[layer], &[]).await;
        let due_at = async |time| {
            let reader = &mut *test.db.reader().await.unwrap();
            let due = links::due(reader, time, 10).await.unwrap();
            due.iter().any(|due| due.blob == layer)
        };
        assert!(!due_at(later(1_000_000)).await, "a manifest names it");
        transact!(test.db, |tx| links::add(
            tx,
            app,
            layer,
            Some(later(100)),
            NOW
        )
        .await)
        .unwrap();
        let found = find(&test.db, app, 10).await.unwrap();
        transact!(test.db, [found], |tx| {
            given::delete(tx, app, &found, later(5), NOW).await
        })
        .unwrap();
        assert!(!due_at(later(99)).await);
        assert!(due_at(later(100)).await);
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
                artifact_type: Some(kind.to_owned()),
                subject: Some(digest(99)),
                annotations: (number == 1).then(|| r#"{"a":"b"}"#.to_owned()),
                ..new_artifact(number, own, &[])
            };
            let id = transact!(test.db, [new], |tx| artifacts::ensure(tx, app, &new, NOW)
                .await);
            made.push(id.unwrap().0);
        }
        let reader = &mut *test.db.reader().await.unwrap();
        let start = ArtifactId(0);
        let first = artifacts::referrers(reader, app.id, &digest(99), None, start, 2)
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
        let rest = artifacts::referrers(reader, app.id, &digest(99), None, made[1], 10)
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
            app.id,
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
            artifacts::referrers(reader, app.id, &digest(98), None, start, 10)
                .await
                .unwrap()
                .is_empty()
        );
        let elsewhere = RepositoryId(app.id.0 + 1);
        assert!(
            artifacts::referrers(reader, elsewhere, &digest(99), None, start, 10)
                .await
                .unwrap()
                .is_empty()
        );
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
            let linked = transact!(test.db, [unlinked], |tx| consistency::link(
                tx, &unlinked, NOW
            )
            .await);
            assert_eq!(linked.unwrap(), consistency::Linking::Linked);
        }
        for loose in loose {
            let mended = transact!(test.db, [loose], |tx| consistency::mend_tag(
                tx, &loose, NOW
            )
            .await);
            assert!(mended.unwrap());
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
