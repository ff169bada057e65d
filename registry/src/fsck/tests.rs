use std::{collections::BTreeSet, fs, pin::pin, time::Duration};

use db::{
    artifacts::{self, NewArtifact},
    blobs::{self, State},
    repositories::{self, Repository},
    store_id,
    tags::{self, Cause},
    uploads,
};
use model::id::{ArtifactId, BlobId};
use oci::digest::{Algorithm, Digest};
use tokio::time::timeout;

use super::{FsckReport, Kind};
use crate::world::{World, digest_of, each};

const DAY: Duration = Duration::from_hours(25);

/// Plants one fault, and says what must be found of it.
async fn finds(world: &World<'_>, kind: Kind, deep: bool) -> FsckReport {
    let report = world.fsck(deep, false).await;
    assert!(report.complete);
    assert_eq!(report.count(kind), 1, "{:?}", report.findings);
    let others: Vec<_> = report
        .findings
        .keys()
        .filter(|other| **other != kind && other.is_fault())
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(report.is_clean(), !kind.is_fault());
    report
}

/// Repairs, and says that all is well afterwards.
async fn repairs(world: &World<'_>, kind: Kind) {
    let report = world.fsck(true, true).await;
    assert_eq!(report.findings[&kind].repaired, 1, "{:?}", report.findings);
    let after = world.fsck(true, false).await;
    assert!(after.is_clean(), "{:?}", after.findings);
}

#[test]
fn a_registry_in_use_is_clean() {
    each(async |world| {
        let first = world.push_image("library/a", "v1", &[b"one", b"two"]).await;
        world.push_image("library/b", "v1", &[b"one"]).await;
        world.delete_manifest("library/a", &first).await;
        world.collect().await;
        let report = world.fsck(true, false).await;
        assert!(report.is_clean(), "{:?}", report.findings);
        assert_eq!(
            (
                report.done.contents,
                report.done.stored,
                report.done.manifests,
                report.done.tags
            ),
            (3, 3, 1, 1)
        );
        assert_eq!(report.done.bytes, report.done.stored_bytes);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["contents"], 3);
    });
}

#[test]
fn missing_bytes_are_found_and_given_up_until_the_next_push() {
    each(async |world| {
        world.push_image("library/a", "v1", &[b"layer"]).await;
        let digest = digest_of(b"layer");
        fs::remove_file(world.file(&digest, "data")).unwrap();
        finds(world, Kind::Missing, false).await;
        assert_eq!(
            world.state(&digest).await,
            Some(State::Live),
            "nothing changes without being asked"
        );
        assert_eq!(
            world.fsck(false, true).await.findings[&Kind::Missing].repaired,
            1
        );
        finds(world, Kind::Lost, false).await;
        world.push_blob("library/a", b"layer").await;
        assert!(world.fsck(true, false).await.is_clean());
    });
}

#[test]
fn a_short_file_is_found_by_its_length_and_a_changed_one_by_its_digest() {
    each(async |world| {
        world.push_image("library/a", "v1", &[b"layer"]).await;
        let file = world.file(&digest_of(b"layer"), "data");
        fs::write(&file, b"lay").unwrap();
        finds(world, Kind::WrongLength, false).await;
        fs::write(&file, b"LAYER").unwrap();
        assert!(world.fsck(false, false).await.is_clean());
        finds(world, Kind::Damaged, true).await;
        assert_eq!(
            world.fsck(true, true).await.findings[&Kind::Damaged].repaired,
            1
        );
        assert!(!world.serves("library/a", &digest_of(b"layer")).await);
        finds(world, Kind::Lost, true).await;
    });
}

#[test]
fn what_the_disk_does_not_open_is_found_also_without_reading_it() {
    each(async |world| {
        world.push_image("library/a", "v1", &[b"layer"]).await;
        let file = world.file(&digest_of(b"layer"), "data");
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("data", &file).unwrap();
        for deep in [false, true] {
            let report = world.fsck(deep, false).await;
            assert_eq!(report.count(Kind::Damaged), 1, "{:?}", report.findings);
            assert!(report.complete && report.done.tags == 1);
        }
    });
}

#[test]
fn a_row_with_a_wrong_length_is_corrected_when_the_bytes_are_good() {
    each(async |world| {
        world.push_image("library/a", "v1", &[b"layer"]).await;
        let id = world.row(&digest_of(b"layer")).await.unwrap().id;
        world
            .database
            .db
            .write(move |tx| Box::pin(blobs::set_size(tx, id, 7)))
            .await
            .unwrap();
        finds(world, Kind::WrongLength, true).await;
        repairs(world, Kind::WrongLength).await;
        assert!(world.serves("library/a", &digest_of(b"layer")).await);
    });
}

#[test]
fn lost_content_whose_bytes_came_back_is_served_again() {
    each(async |world| {
        world.push_image("library/a", "v1", &[b"layer"]).await;
        let (digest, file) = (
            digest_of(b"layer"),
            world.file(&digest_of(b"layer"), "data"),
        );
        fs::remove_file(&file).unwrap();
        world.registry.suspect(&digest).await.unwrap();
        // As a person does who restores the file from a copy.
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, b"layer").unwrap();
        finds(world, Kind::Lost, false).await;
        repairs(world, Kind::Lost).await;
        assert!(world.serves("library/a", &digest).await);
    });
}

#[test]
fn bytes_that_no_row_knows_are_removed_once_they_are_old() {
    each(async |world| {
        let digest = digest_of(b"stray");
        world
            .registry
            .store()
            .put(&digest, "data", b"stray"[..].into())
            .await
            .unwrap();
        finds(world, Kind::Young, false).await;
        world.fsck(false, true).await;
        assert!(world.file(&digest, "data").exists(), "it may be on its way");
        world.advance(DAY);
        finds(world, Kind::Stray, false).await;
        repairs(world, Kind::Stray).await;
        assert!(!world.file(&digest, "data").exists());
        // A push that had just put them there would have stored again, elsewhere.
        world.push_blob("library/a", b"stray").await;
        assert_eq!(world.row(&digest).await.unwrap().location, "data.1");
        assert!(world.serves("library/a", &digest).await);
    });
}

#[test]
fn stray_bytes_beside_living_ones_leave_those_alone() {
    each(async |world| {
        world.push_image("library/a", "v1", &[b"layer"]).await;
        let digest = digest_of(b"layer");
        world
            .registry
            .store()
            .put(&digest, "data.3", b"layer"[..].into())
            .await
            .unwrap();
        world.advance(DAY);
        finds(world, Kind::Stray, false).await;
        repairs(world, Kind::Stray).await;
        assert!(world.serves("library/a", &digest).await);
        assert!(!world.file(&digest, "data.3").exists());
        // The living generation is still the one that pushes go to.
        world.push_blob("library/b", b"layer").await;
        assert_eq!(world.row(&digest).await.unwrap().location, "data");
    });
}

#[test]
fn content_that_no_repository_holds_is_found_and_collected() {
    each(async |world| {
        let digest = digest_of(b"unheld");
        world
            .registry
            .store()
            .put(&digest, "data", b"unheld"[..].into())
            .await
            .unwrap();
        let made = world.database.db.write(move |tx| {
            Box::pin(async move {
                let now = tx.now().await?;
                blobs::insert(tx, &digest, 0, 6, "data", now).await
            })
        });
        made.await.unwrap().unwrap();
        assert_eq!(world.collect().await.done.freed, 0);
        finds(world, Kind::Unheld, false).await;
        repairs(world, Kind::Unheld).await;
        assert_eq!(world.collect().await.done.freed, 1);
    });
}

#[test]
fn a_manifest_whose_repository_does_not_hold_what_it_names_gets_it() {
    each(async |world| {
        world.push_image("library/a", "v1", &[b"layer"]).await;
        let (layer, manifest) = (
            world.row(&digest_of(b"layer")).await.unwrap(),
            digest_of(b"{}"),
        );
        world.push_blob("library/b", b"{}").await;
        let own = world.row(&manifest).await.unwrap();
        artifact(world, "library/b", manifest, own.id, &[own.id, layer.id]).await;
        finds(world, Kind::Unlinked, false).await;
        repairs(world, Kind::Unlinked).await;
        assert!(world.serves("library/b", &layer.digest).await);
    });
}

#[test]
fn a_manifest_that_does_not_name_its_own_bytes_is_mended_before_they_go() {
    each(async |world| {
        world.push_blob("library/b", b"{}").await;
        let own = world.row(&digest_of(b"{}")).await.unwrap();
        artifact(world, "library/b", own.digest, own.id, &[]).await;
        finds(world, Kind::Unlinked, false).await;
        repairs(world, Kind::Unlinked).await;
        world.advance(DAY);
        assert_eq!(world.collect().await.done.freed, 0);
    });
}

#[test]
fn a_tag_that_says_another_digest_than_it_points_at_is_mended() {
    each(async |world| {
        let manifest = world.push_image("library/a", "v1", &[b"layer"]).await;
        let (id, repository) = find(world, "library/a", manifest).await;
        tag(world, repository, id, digest_of(b"elsewhere")).await;
        finds(world, Kind::LooseTag, false).await;
        repairs(world, Kind::LooseTag).await;
        assert!(
            world
                .serves_manifest(&world.restart().await, "library/a", "loose")
                .await
        );
    });
}

#[test]
fn a_tag_into_another_repository_goes() {
    each(async |world| {
        let manifest = world.push_image("library/a", "v1", &[b"layer"]).await;
        world.push_image("library/b", "v1", &[b"other"]).await;
        let (id, _) = find(world, "library/a", manifest).await;
        let (_, repository) = find(
            world,
            "library/b",
            world.push_image("library/b", "v1", &[b"other"]).await,
        )
        .await;
        tag(world, repository, id, manifest).await;
        let report = finds(world, Kind::LooseTag, false).await;
        assert!(report.findings[&Kind::LooseTag].examples[0].contains("points at nothing"));
        repairs(world, Kind::LooseTag).await;
        assert!(
            !world
                .serves_manifest(&world.restart().await, "library/b", "loose")
                .await
        );
    });
}

#[test]
fn what_lists_show_and_what_is_counted_is_compared() {
    each(async |world| {
        world.push_image("library/a", "v1", &[b"layer"]).await;
        for (wrong, kind) in [
            (
                "UPDATE counters SET n = n + 1 WHERE name = 'project.bytes'",
                Kind::Miscounted,
            ),
            (
                "UPDATE counters SET n = n + 1 WHERE name = 'audit' AND id = 0",
                Kind::Miscounted,
            ),
            (
                "UPDATE counters SET n = n + 1 WHERE name = 'repository.artifacts'",
                Kind::Miscounted,
            ),
        ] {
            execute(world, wrong).await;
            let report = finds(world, kind, false).await;
            assert_eq!(report.done.projects, 1);
            repairs(world, kind).await;
        }
        execute(world, "UPDATE artifacts SET listed = NOT listed").await;
        let report = world.fsck(false, true).await;
        for kind in [Kind::Mislisted, Kind::Miscounted] {
            assert_eq!(report.count(kind), 1, "{:?}", report.findings);
        }
        assert!(world.fsck(false, false).await.is_clean());
    });
}

async fn execute(world: &World<'_>, sql: &'static str) {
    let db = &world.database.db;
    db.write(move |tx| Box::pin(async move { tx.execute(sql, &[]).await }))
        .await
        .unwrap();
}

#[test]
fn uploads_and_their_sessions_are_compared() {
    each(async |world| {
        fs::write(world.root.join("uploads/abandoned"), b"bytes").unwrap();
        finds(world, Kind::Young, false).await;
        world.advance(DAY);
        finds(world, Kind::StrayUpload, false).await;
        repairs(world, Kind::StrayUpload).await;
        assert!(!world.root.join("uploads/abandoned").exists());
        let made = world.database.db.write(|tx| {
            Box::pin(async move {
                let now = tx.now().await?;
                uploads::take(tx, "fileless", "library/a", None, false, now).await?;
                uploads::advance(tx, "fileless", 1, 10, None, now).await
            })
        });
        assert!(made.await.unwrap());
        finds(world, Kind::UploadWithoutFile, false).await;
    });
}

#[test]
fn an_upload_that_this_process_writes_is_no_stray_however_old() {
    each(async |world| {
        let store = world.registry.store();
        let writer = store.begin("long", Algorithm::Sha256).await.unwrap();
        fs::write(world.root.join("uploads/long"), b"bytes").unwrap();
        world.advance(DAY);
        assert!(world.registry.stray_uploads().await.unwrap().is_empty());
        let report = world.fsck(false, true).await;
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        drop(writer);
        assert!(world.registry.stray_uploads().await.unwrap()[0].is_old);
    });
}

#[test]
fn names_that_are_not_ours_are_told_and_left_alone() {
    each(async |world| {
        let foreign = world.root.join("docker/registry/v2/blobs/notes.txt");
        fs::write(&foreign, b"?").unwrap();
        finds(world, Kind::Foreign, false).await;
        world.advance(DAY);
        world.fsck(true, true).await;
        assert!(foreign.exists());
    });
}

#[test]
fn bytes_about_to_go_are_no_fault() {
    each(async |world| {
        let manifest = world.push_image("library/a", "v1", &[]).await;
        world.delete_manifest("library/a", &manifest).await;
        fs::rename(world.root.join("store-id"), world.root.join("aside")).unwrap();
        // Claimed, and then the store was away.
        assert!(
            world
                .registry
                .collect(&tokio_util::sync::CancellationToken::new(), |_| ())
                .await
                .is_err()
        );
        fs::rename(world.root.join("aside"), world.root.join("store-id")).unwrap();
        let report = world.fsck(true, false).await;
        assert!(report.is_clean(), "{:?}", report.findings);
        assert_eq!(report.count(Kind::Going), 2);
    });
}

#[test]
fn another_store_is_told_at_once_and_nothing_else() {
    each(async |world| {
        world.push_image("library/a", "v1", &[b"layer"]).await;
        fs::write(world.root.join("store-id"), "another\n").unwrap();
        let report = world.fsck(true, true).await;
        assert!(!report.is_clean() && report.findings.is_empty());
        assert!(report.identity.unwrap().contains("`another`"));
        assert_eq!(world.state(&digest_of(b"layer")).await, Some(State::Live));
    });
}

#[test]
fn every_kind_has_a_name_of_its_own_in_the_report() {
    use Kind::*;
    let all = [
        Missing,
        WrongLength,
        Damaged,
        Lost,
        Unheld,
        Stray,
        Unlinked,
        GivenUp,
        LooseTag,
        StrayUpload,
        UploadWithoutFile,
        Young,
        Going,
        Foreign,
        Unreadable,
    ];
    let names: BTreeSet<String> = all
        .iter()
        .map(|kind| serde_json::to_string(kind).unwrap())
        .collect();
    assert_eq!(names.len(), all.len());
}

async fn artifact(world: &World<'_>, name: &str, digest: Digest, own: BlobId, named: &[BlobId]) {
    let (name, named) = (name.to_owned(), named.to_vec());
    let made = world.database.db.write(move |tx| {
        let (name, blobs) = (name.clone(), named.clone());
        Box::pin(async move {
            let now = tx.now().await?;
            let repository = repositories::find(tx, &name)
                .await?
                .expect("pushed to before");
            let new = NewArtifact {
                digest,
                blob: own,
                media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
                artifact_type: None,
                config_media_type: None,
                size: 2,
                subject: None,
                annotations: None,
                blobs,
                children: Vec::new(),
                by_tag: false,
                attached: None,
                description: None,
            };
            artifacts::ensure(tx, &repository, &new, now).await
        })
    });
    made.await.unwrap();
}

async fn find(world: &World<'_>, name: &str, manifest: Digest) -> (ArtifactId, Repository) {
    let mut reader = world.database.db.reader().await.unwrap();
    let repository = repositories::find(&mut reader, name)
        .await
        .unwrap()
        .unwrap();
    let artifact = artifacts::find(&mut reader, repository.id, &manifest)
        .await
        .unwrap()
        .unwrap();
    (artifact.id, repository)
}

async fn tag(world: &World<'_>, repository: Repository, artifact: ArtifactId, digest: Digest) {
    let made = world.database.db.write(move |tx| {
        let repository = repository.clone();
        Box::pin(async move {
            let now = tx.now().await?;
            let (name, cause) = ("loose".parse().expect("a tag"), Cause::Push);
            tags::set(tx, &repository, &name, artifact, &digest, cause, now).await
        })
    });
    made.await.unwrap();
}

/// The store is another one already, and the database says so a moment later.
#[test]
fn the_last_moment_of_a_move_is_no_fault() {
    each(async |world| {
        let (registry, db) = (&world.registry, &world.database.db);
        let store = registry.store();
        let own = store.identity().await.unwrap().unwrap();
        let still = registry.hold_publishing().await.unwrap();
        store.change_identity(&own, "next").await.unwrap();
        registry.set_store_id("next");
        let mut asked = pin!(registry.check_store());
        let early = timeout(Duration::from_millis(50), &mut asked).await;
        assert!(early.is_err(), "{early:?}");
        let named = db.write(|tx| Box::pin(store_id::set(tx, "next")));
        named.await.unwrap();
        drop(still);
        asked.await.unwrap();
        // Not so where nothing moves.
        store.change_identity("next", &own).await.unwrap();
        assert!(registry.check_store().await.is_err());
    });
}
