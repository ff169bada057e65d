use std::fs;

use bytes::Bytes;
use db::{artifacts, blobs::State, projects, repositories};
use oci::{digest::Digest, name::RepoName};
use tokio_util::sync::CancellationToken;

use super::{REPOSITORY, RebuildOptions, RebuildReport};
use crate::{
    scrub::ScrubOptions,
    world::{World, digest_of, each, image, index},
};

/// What a store holds whose database is gone: an image of two layers, one of one, an index over both, and an index over
/// that one.
struct Held {
    images: [Bytes; 2],
    indexes: [Bytes; 2],
    layers: [&'static [u8]; 3],
}

const CONFIG: &[u8] = b"{\"architecture\":\"amd64\"}";

async fn fill(world: &World<'_>) -> Held {
    let layers: [&[u8]; 3] = [b"one", b"two", b"{\"three\": 3}"];
    let images = [image(CONFIG, &layers[..2]), image(CONFIG, &layers[2..])];
    let inner = index(&[&images[0], &images[1]]);
    let outer = index(&[&inner]);
    let held = Held {
        images,
        indexes: [inner, outer],
        layers,
    };
    for bytes in held.all() {
        world
            .registry
            .store()
            .put(&digest_of(&bytes), "data", bytes)
            .await
            .unwrap();
    }
    held
}

impl Held {
    fn all(&self) -> Vec<Bytes> {
        let mut all = vec![Bytes::from_static(CONFIG)];
        all.extend(self.layers.iter().map(|layer| Bytes::from_static(layer)));
        all.extend(self.images.iter().chain(&self.indexes).cloned());
        all
    }
}

#[test]
fn every_manifest_is_back_with_all_it_names() {
    each(async |world| {
        let held = fill(world).await;
        let report = rebuild(world, true).await;
        assert!(report.complete);
        assert_eq!((report.done.contents, report.done.refused), (8, 0));
        assert_eq!(
            (report.done.manifests, report.done.incomplete),
            (4, 0),
            "{:?}",
            report.examples
        );
        for bytes in held.all() {
            assert!(world.serves(REPOSITORY, &digest_of(&bytes)).await);
        }
        // The index holds on to its manifests, as a pushed one does.
        let (child, parent) = (digest_of(&held.images[0]), digest_of(&held.indexes[0]));
        let mut reader = world.database.db.reader().await.unwrap();
        let repository = repositories::find(&mut reader, REPOSITORY)
            .await
            .unwrap()
            .unwrap();
        let child = artifacts::find(&mut reader, repository.id, &child)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            artifacts::find_parent(&mut reader, child.id).await.unwrap(),
            Some(parent)
        );
        assert!(
            !projects::get_name(&mut reader, "recovered")
                .await
                .unwrap()
                .public
        );
        drop(reader);
        let report = world.fsck(true, false).await;
        assert!(report.is_clean(), "{:?}", report.findings);
    });
}

#[test]
fn a_second_rebuild_changes_nothing_and_one_that_was_interrupted_goes_on() {
    each(async |world| {
        fill(world).await;
        let cancel = CancellationToken::new();
        cancel.cancel();
        let options = RebuildOptions {
            verify: true,
            owner: world.owner,
        };
        assert!(
            !world
                .registry
                .rebuild(&options, &cancel, |_| ())
                .await
                .unwrap()
                .complete
        );
        let cancel = CancellationToken::new();
        let stopped = world
            .registry
            .rebuild(&options, &cancel, |done| {
                if done.contents > 0 {
                    cancel.cancel();
                }
            })
            .await
            .unwrap();
        assert_eq!(
            (
                stopped.complete,
                stopped.done.contents,
                stopped.done.manifests
            ),
            (false, 8, 0)
        );
        let rest = rebuild(world, true).await;
        assert_eq!((rest.done.contents, rest.done.manifests), (0, 4));
        let again = rebuild(world, true).await;
        assert_eq!(
            (
                again.done.contents,
                again.done.manifests,
                again.done.refused
            ),
            (0, 0, 0)
        );
        assert!(world.fsck(true, false).await.is_clean());
    });
}

#[test]
fn what_no_manifest_names_stays_for_a_season_and_what_one_names_for_good() {
    each(async |world| {
        let held = fill(world).await;
        let lonely = digest_of(b"lonely");
        world
            .registry
            .store()
            .put(&lonely, "data", b"lonely"[..].into())
            .await
            .unwrap();
        rebuild(world, true).await;
        world.advance(super::KEEP_UNNAMED / 2);
        assert_eq!(world.collect().await.done.freed, 0);
        world.advance(super::KEEP_UNNAMED);
        assert_eq!(world.collect().await.done.freed, 1);
        assert!(!world.serves(REPOSITORY, &lonely).await);
        for bytes in held.all() {
            assert!(world.serves(REPOSITORY, &digest_of(&bytes)).await);
        }
    });
}

#[test]
fn damaged_content_is_left_out_and_the_manifest_that_names_it_is_told() {
    each(async |world| {
        let held = fill(world).await;
        let damaged = digest_of(held.layers[0]);
        fs::write(world.file(&damaged, "data"), b"ONE").unwrap();
        let report = rebuild(world, true).await;
        assert_eq!((report.done.contents, report.done.refused), (7, 1));
        assert_eq!((report.done.manifests, report.done.incomplete), (4, 1));
        assert!(
            report
                .examples
                .iter()
                .any(|text| text.contains(&damaged.to_string())),
            "{:?}",
            report.examples
        );
        assert_eq!(world.state(&damaged).await, None);
        // Whoever still has it heals the image.
        world.push_blob(REPOSITORY, held.layers[0]).await;
        assert!(world.serves(REPOSITORY, &damaged).await);
    });
}

#[test]
fn without_reading_everything_small_content_is_read_all_the_same() {
    each(async |world| {
        let held = fill(world).await;
        let damaged = digest_of(held.layers[0]);
        fs::write(world.file(&damaged, "data"), b"ONE").unwrap();
        let report = rebuild(world, false).await;
        assert_eq!((report.done.contents, report.done.refused), (7, 1));
        assert_eq!(world.state(&damaged).await, None);
    });
}

/// A file over `SMALL`, of zeroes, under a digest that they do not have.
async fn plant_large(world: &World<'_>, location: &str) -> Digest {
    let digest = digest_of(b"large");
    let store = world.registry.store();
    store
        .put(&digest, location, b"large"[..].into())
        .await
        .unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(world.file(&digest, location))
        .unwrap();
    file.set_len(super::SMALL + 1).unwrap();
    digest
}

#[test]
fn large_content_that_was_not_read_is_the_first_that_the_scrub_reads() {
    each(async |world| {
        let damaged = plant_large(world, "data").await;
        let report = rebuild(world, false).await;
        assert_eq!((report.done.contents, report.done.refused), (1, 0));
        assert_eq!(world.state(&damaged).await, Some(State::Adopted));
        let options = ScrubOptions::default();
        let report = world
            .registry
            .scrub(&options, &CancellationToken::new(), |_| ())
            .await
            .unwrap();
        assert_eq!((report.done.checked, report.done.lost), (1, 1));
        assert_eq!(world.state(&damaged).await, Some(State::Lost));
    });
}

#[test]
fn of_two_files_the_good_one_gets_the_row_whichever_comes_first() {
    each(async |world| {
        let digest = plant_large(world, "data.1").await;
        let store = world.registry.store();
        for location in ["data", "data.2"] {
            store
                .put(&digest, location, b"large"[..].into())
                .await
                .unwrap();
        }
        let report = rebuild(world, false).await;
        assert_eq!((report.done.contents, report.done.refused), (1, 2));
        assert_ne!(world.row(&digest).await.unwrap().location, "data.1");
        assert!(world.serves(REPOSITORY, &digest).await);
    });
}

#[test]
fn what_the_disk_does_not_give_is_told_and_the_rest_is_taken_in() {
    each(async |world| {
        let held = fill(world).await;
        let looped = digest_of(held.layers[1]);
        let file = world.file(&looped, "data");
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("data", &file).unwrap();
        let report = rebuild(world, true).await;
        assert_eq!((report.done.contents, report.done.manifests), (7, 4));
        assert_eq!(report.done.incomplete, 1);
    });
}

#[test]
fn of_two_places_of_one_content_one_gets_the_row() {
    each(async |world| {
        let digest = digest_of(b"twice");
        for location in ["data", "data.2"] {
            world
                .registry
                .store()
                .put(&digest, location, b"twice"[..].into())
                .await
                .unwrap();
        }
        let report = rebuild(world, true).await;
        assert_eq!((report.done.contents, report.done.refused), (1, 1));
        let row = world.row(&digest).await.unwrap();
        assert_eq!(row.location, db::blobs::location_of(row.generation));
        assert!(world.serves(REPOSITORY, &digest).await);
    });
}

#[test]
fn a_recovered_image_can_be_mounted_and_tagged_elsewhere() {
    each(async |world| {
        let held = fill(world).await;
        rebuild(world, true).await;
        let from: RepoName = REPOSITORY.parse().unwrap();
        let named: Vec<Digest> = [CONFIG, held.layers[0], held.layers[1]]
            .map(digest_of)
            .to_vec();
        for digest in &named {
            assert!(
                world
                    .registry
                    .mount_blob(&world.target("library/a"), digest, &from)
                    .await
                    .unwrap()
            );
        }
        world
            .push_manifest("library/a", "v1", held.images[0].clone())
            .await;
        assert!(
            world
                .serves_manifest(&world.registry, "library/a", "v1")
                .await
        );
    });
}

async fn rebuild(world: &World<'_>, verify: bool) -> RebuildReport {
    let options = RebuildOptions {
        verify,
        owner: world.owner,
    };
    world
        .registry
        .rebuild(&options, &CancellationToken::new(), |_| ())
        .await
        .unwrap()
}
