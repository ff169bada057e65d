use std::{fs, sync::atomic::Ordering, time::Duration};

use blob::{Damage, Verdict};
use db::blobs::{self, State};
use futures_util::FutureExt;
use model::Error;
use oci::digest::Digest;
use tokio_util::sync::CancellationToken;

use super::{Finding, ScrubOptions, ScrubReport};
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
            report.examples[0].why.contains("have the digest"),
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
            let before = world.registry.begin_judging(&seen).await.unwrap().unwrap();
            assert!(world.serves("library/a", &digest).await);
            world.push_blob("library/a", b"layer").await;
            assert!(!world.registry.mark(&seen, before, &verdict).await.unwrap());
            assert_eq!(world.state(&digest).await, Some(State::Live));
            // Also when somebody suspects it anew meanwhile.
            let after = world.registry.begin_judging(&seen).await.unwrap().unwrap();
            assert!(!world.registry.mark(&seen, before, &verdict).await.unwrap());
            assert_eq!(world.state(&digest).await, Some(State::Suspect));
            assert_ne!(before, after);
            assert_eq!(
                world
                    .registry
                    .judge(&digest, None, &CancellationToken::new())
                    .await
                    .unwrap(),
                Finding::Good
            );
        }
        assert!(world.fsck(true, false).await.is_clean());
    });
}

#[test]
fn a_suspect_whose_judge_died_is_judged_by_the_next_scrub() {
    each(async |world| {
        let digest = world.push_blob("library/a", b"layer").await;
        let seen = world.row(&digest).await.unwrap();
        assert!(world.registry.begin_judging(&seen).await.unwrap().is_some());
        assert_eq!(scrub(world, false).await.done.checked, 1);
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
        let suspicion = world.registry.begin_judging(&row).await.unwrap().unwrap();
        let damage = Damage::Digest {
            size: 5,
            actual: digest_of(b"x"),
        };
        let verdict = Verdict::Damaged(damage);
        assert!(
            world
                .registry
                .mark(&row, suspicion, &verdict)
                .await
                .unwrap()
        );
        let settled = world.database.db.write(move |tx| {
            let place = place.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                settle(tx, &digest, 5, &place, Some("data"), now).await
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
        let mut first = Box::pin(world.registry.suspect(&digest));
        // It waits for the disk from here on.
        assert!(futures_util::poll!(&mut first).is_pending());
        for _ in 0..8 {
            let other = world.registry.suspect(&digest).now_or_never();
            other.expect("nothing is asked").unwrap();
        }
        first.await.unwrap();
        assert_eq!(world.state(&digest).await, Some(State::Lost));
        assert!(world.registry.0.judging.asked.lock().is_empty());
    });
}

#[test]
fn what_the_disk_does_not_open_is_lost_and_the_rest_is_read() {
    each(async |world| {
        world.push_image("library/a", "v1", &[b"one", b"two"]).await;
        let (looped, blocked) = (digest_of(b"one"), digest_of(b"two"));
        let file = world.file(&looped, "data");
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("data", &file).unwrap();
        let dir = world.file(&blocked, "data").parent().unwrap().to_owned();
        fs::remove_dir_all(&dir).unwrap();
        fs::write(&dir, b"a file where a directory was").unwrap();
        let report = scrub(world, true).await;
        assert_eq!(
            (report.done.checked, report.done.lost, report.complete),
            (4, 2, true)
        );
        for lost in report.examples {
            assert!(lost.why.contains("cannot be read"), "{}", lost.why);
        }
        // Not asked about again and again, and no end of the next run.
        let next = scrub(world, false).await;
        assert_eq!((next.done.lost, next.complete), (0, true));
    });
}

#[test]
fn a_row_whose_length_is_wrong_is_corrected_when_the_bytes_are_good() {
    each(async |world| {
        let digest = world.push_blob("library/a", b"layer").await;
        let id = world.row(&digest).await.unwrap().id;
        let wrong = world
            .database
            .db
            .write(move |tx| Box::pin(blobs::set_size(tx, id, 3)));
        wrong.await.unwrap();
        assert_eq!(scrub(world, true).await.done.lost, 0);
        let row = world.row(&digest).await.unwrap();
        assert_eq!((row.size, row.state), (5, State::Live));
    });
}

#[test]
fn a_clock_that_is_set_back_does_not_make_a_run_begin_again() {
    each(async |world| {
        for number in 0..3 {
            world
                .push_blob("library/a", format!("content {number}").as_bytes())
                .await;
        }
        world.advance(MONTH);
        let options = ScrubOptions {
            everything: true,
            longest: None,
        };
        let cancel = CancellationToken::new();
        let report = world
            .registry
            .scrub(&options, &cancel, |done| {
                if done.checked == 1 {
                    world.database.clock.set_back(MONTH);
                }
                if done.checked > 10 {
                    cancel.cancel();
                }
            })
            .await
            .unwrap();
        assert_eq!((report.done.checked, report.complete), (3, true));
    });
}

#[test]
fn what_is_lost_does_not_keep_the_rest_from_being_read() {
    each(async |world| {
        let lost = world.push_blob("library/a", b"lost").await;
        fs::remove_file(world.file(&lost, "data")).unwrap();
        scrub(world, true).await;
        let lately = world.push_blob("library/a", b"lately").await;
        world.advance(MONTH);
        // As if the last run had ended between two of many.
        let position = &world.registry.0.judging.recovered;
        position.store(i64::MAX, Ordering::Relaxed);
        let options = ScrubOptions {
            everything: false,
            longest: Some(Duration::from_hours(1)),
        };
        fs::write(world.file(&lost, "data"), b"lost").unwrap();
        for (recovered, checked) in [(0, 1), (1, 0)] {
            let report = world
                .registry
                .scrub(&options, &CancellationToken::new(), |_| ())
                .await
                .unwrap();
            assert_eq!(
                (report.done.recovered, report.done.checked),
                (recovered, checked)
            );
        }
        assert!(world.serves("library/a", &lost).await && world.serves("library/a", &lately).await);
    });
}
