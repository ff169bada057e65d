use std::{fs, time::Duration};

use blob::{Damage, Verdict};
use db::blobs::State;
use model::Error;
use oci::digest::Digest;
use tokio_util::sync::CancellationToken;

use super::{ScrubOptions, ScrubReport};
use crate::{
    push::settle,
    world::{World, digest_of, each},
};

const MONTH: Duration = Duration::from_hours(31 * 24);

#[test]
fn good_content_is_read_once_in_an_interval() {
    each(async |world| {
        let report = scrub(world, false).await;
        assert_eq!((report.done.checked, report.complete), (0, true));
        world.push_image("library/a", "v1", &[b"layer"]).await;
        assert_eq!(
            scrub(world, false).await.done.checked,
            0,
            "a push is a check"
        );
        world.advance(MONTH);
        let report = scrub(world, false).await;
        assert_eq!((report.done.checked, report.done.lost), (3, 0));
        assert!(report.done.bytes > 0);
        assert_eq!(scrub(world, false).await.done.checked, 0);
        assert_eq!(scrub(world, true).await.done.checked, 3);
    });
}

#[test]
fn damaged_content_is_set_aside_and_healed_by_the_next_push() {
    each(async |world| {
        let (layer, manifest) = (
            b"layer",
            world.push_image("library/a", "v1", &[b"layer"]).await,
        );
        let digest = digest_of(layer);
        fs::write(world.file(&digest, "data"), b"LAYER").unwrap();
        let report = scrub(world, true).await;
        assert_eq!((report.done.checked, report.done.lost), (3, 1));
        assert_eq!(report.examples[0].digest, digest);
        assert!(
            report.examples[0].why.contains("have digest"),
            "{}",
            report.examples[0].why
        );
        assert_eq!(world.state(&digest).await, Some(State::Lost));
        assert!(!world.serves("library/a", &digest).await);
        let aside = world
            .root
            .join(format!("quarantine/sha256-{}-data", digest.hex()));
        assert_eq!(fs::read(aside).unwrap(), b"LAYER");
        world.push_blob("library/a", layer).await;
        assert!(world.serves("library/a", &digest).await);
        // The manifest still names it: nothing of it is collected.
        world.advance(MONTH);
        assert_eq!(world.collect().await.done.freed, 0);
        assert!(
            world.serves("library/a", &manifest).await && world.serves("library/a", &digest).await
        );
        assert!(world.fsck(true, false).await.is_clean());
    });
}

#[test]
fn missing_content_is_healed_by_the_next_push() {
    each(async |world| {
        world.push_image("library/a", "v1", &[b"layer"]).await;
        let digest = digest_of(b"layer");
        fs::remove_file(world.file(&digest, "data")).unwrap();
        let report = scrub(world, true).await;
        assert_eq!(
            (report.done.lost, report.examples[0].why.as_str()),
            (1, "its bytes are missing")
        );
        assert_eq!(world.state(&digest).await, Some(State::Lost));
        // It is not read again and again.
        assert_eq!(scrub(world, true).await.done.lost, 0);
        world.push_blob("library/a", b"layer").await;
        assert!(world.serves("library/a", &digest).await);
    });
}

#[test]
fn content_that_comes_back_is_served_again_by_the_next_scrub() {
    each(async |world| {
        world.push_image("library/a", "v1", &[b"layer"]).await;
        let digest = digest_of(b"layer");
        let (file, aside) = (world.file(&digest, "data"), world.root.join("aside"));
        fs::rename(&file, &aside).unwrap();
        assert_eq!(scrub(world, true).await.done.lost, 1);
        assert_eq!(scrub(world, false).await.done.recovered, 0);
        fs::rename(&aside, &file).unwrap();
        let report = scrub(world, false).await;
        assert_eq!((report.done.recovered, report.done.lost), (1, 0));
        assert!(world.serves("library/a", &digest).await);
    });
}

#[test]
fn lost_content_that_nothing_needs_goes_as_any_other() {
    each(async |world| {
        let manifest = world.push_image("library/a", "v1", &[b"layer"]).await;
        let digest = digest_of(b"layer");
        fs::write(world.file(&digest, "data"), b"LAYER").unwrap();
        scrub(world, true).await;
        world.delete_manifest("library/a", &manifest).await;
        assert_eq!(world.collect().await.done.freed, 3);
        assert_eq!(world.state(&digest).await, Some(State::Deleting));
        world.push_blob("library/a", b"layer").await;
        assert!(world.serves("library/a", &digest).await);
    });
}

#[test]
fn a_damaged_manifest_is_not_served_and_its_next_push_heals_it() {
    each(async |world| {
        let manifest = world.push_image("library/a", "v1", &[b"layer"]).await;
        fs::write(world.file(&manifest, "data"), b"{}").unwrap();
        let fresh = world.restart().await;
        assert!(!world.serves_manifest(&fresh, "library/a", "v1").await);
        assert_eq!(
            world.state(&manifest).await,
            Some(State::Lost),
            "the pull itself said so"
        );
        assert_eq!(
            world.push_image("library/a", "v1", &[b"layer"]).await,
            manifest
        );
        assert!(
            world
                .serves_manifest(&world.restart().await, "library/a", "v1")
                .await
        );
    });
}

#[test]
fn nothing_is_marked_while_the_store_is_away() {
    each(async |world| {
        let digest = world.push_blob("library/a", b"layer").await;
        let away = world.root.with_extension("away");
        fs::rename(&world.root, &away).unwrap();
        fs::create_dir(&world.root).unwrap();
        for refused in [
            world.registry.suspect(&digest).await,
            try_scrub(world, true).await.map(|_| ()),
        ] {
            assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
        }
        assert_eq!(world.state(&digest).await, Some(State::Live));
        fs::remove_dir(&world.root).unwrap();
        fs::rename(&away, &world.root).unwrap();
        assert!(world.serves("library/a", &digest).await);
    });
}

#[test]
fn a_push_between_the_reading_and_the_mark_is_kept() {
    each(async |world| {
        let digest = world.push_blob("library/a", b"layer").await;
        let bad = [
            Verdict::Missing,
            Verdict::Damaged(Damage::Digest {
                size: 1,
                actual: digest_of(b"x"),
            }),
        ];
        for verdict in bad {
            let seen = world.row(&digest).await.unwrap();
            assert!(world.registry.begin_judging(&seen).await.unwrap());
            assert!(world.serves("library/a", &digest).await);
            world.push_blob("library/a", b"layer").await;
            assert!(!world.registry.mark(&seen, &verdict).await.unwrap());
            assert_eq!(world.state(&digest).await, Some(State::Live));
        }
        assert!(world.fsck(true, false).await.is_clean());
    });
}

#[test]
fn a_suspect_whose_judge_died_is_judged_by_the_next_scrub() {
    each(async |world| {
        let digest = world.push_blob("library/a", b"layer").await;
        let seen = world.row(&digest).await.unwrap();
        assert!(world.registry.begin_judging(&seen).await.unwrap());
        world.advance(MONTH);
        try_scrub(world, false).await.unwrap();
        assert_eq!(world.state(&digest).await, Some(State::Live));
        assert!(world.serves("library/a", &digest).await);
    });
}

#[test]
fn a_push_under_way_stores_again_when_its_place_was_found_damaged() {
    each(async |world| {
        let digest = world.push_blob("library/a", b"layer").await;
        let row = world.row(&digest).await.unwrap();
        let (place, _) = world.registry.place(&digest, 5).await.unwrap();
        // Published there, and not yet committed, when the scrub decides about the bytes before.
        assert!(world.registry.begin_judging(&row).await.unwrap());
        let damage = Damage::Digest {
            size: 5,
            actual: digest_of(b"x"),
        };
        let verdict = Verdict::Damaged(damage);
        assert!(world.registry.mark(&row, &verdict).await.unwrap());
        let settled = world.database.db.write(move |tx| {
            let place = place.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                settle(tx, &digest, 5, &place, true, now).await
            })
        });
        assert_eq!(settled.await.unwrap(), None);
        world.push_blob("library/a", b"layer").await;
        let row = world.row(&digest).await.unwrap();
        assert_eq!((row.location.as_str(), row.state), ("data.1", State::Live));
        assert!(world.serves("library/a", &digest).await);
    });
}

#[test]
fn a_slice_ends_in_time_and_the_next_goes_on() {
    each(async |world| {
        for number in 0..5 {
            world
                .push_blob("library/a", format!("content {number}").as_bytes())
                .await;
        }
        world.advance(MONTH);
        let cancel = CancellationToken::new();
        let options = ScrubOptions::default();
        let first = world
            .registry
            .scrub(&options, &cancel, |done| {
                if done.checked == 2 {
                    cancel.cancel();
                }
            })
            .await
            .unwrap();
        assert_eq!((first.done.checked, first.complete), (2, false));
        assert_eq!(scrub(world, false).await.done.checked, 3);
        let options = ScrubOptions {
            everything: true,
            longest: Some(Duration::ZERO),
        };
        let none = world
            .registry
            .scrub(&options, &CancellationToken::new(), |_| ())
            .await
            .unwrap();
        assert_eq!((none.done.checked, none.complete), (0, false));
    });
}

async fn scrub(world: &World<'_>, everything: bool) -> ScrubReport {
    try_scrub(world, everything).await.unwrap()
}

async fn try_scrub(world: &World<'_>, everything: bool) -> model::Result<ScrubReport> {
    let options = ScrubOptions {
        everything,
        longest: None,
    };
    world
        .registry
        .scrub(&options, &CancellationToken::new(), |_| ())
        .await
}

#[test]
fn two_who_suspect_the_same_ask_once() {
    each(async |world| {
        let digest: Digest = world.push_blob("library/a", b"layer").await;
        fs::write(world.file(&digest, "data"), b"LAYER").unwrap();
        let asked = (0..8).map(|_| world.registry.suspect(&digest));
        for answer in futures_util::future::join_all(asked).await {
            answer.unwrap();
        }
        assert_eq!(world.state(&digest).await, Some(State::Lost));
        assert!(world.registry.0.suspected.lock().is_empty());
    });
}
