use std::{fs, time::Duration};

use blob::Verdict;
use db::{
    blobs::{self, Blob, State},
    uploads,
};
use model::job::Job;
use oci::digest::{Algorithm, Digest};
use tokio_util::sync::CancellationToken;

use crate::{
    Outcome,
    world::{World, each, in_a_bucket},
};

const HOUR: Duration = Duration::from_hours(1);

/// A session as a request leaves it that was cut: a row and a file of ten bytes.
async fn begin(world: &World<'_>, key: &'static str) {
    fs::write(world.root.join("uploads").join(key), b"ten bytes!").unwrap();
    let kept = world.write(move |tx| {
        Box::pin(async move {
            let now = tx.now().await?;
            uploads::take(tx, key, "library/a", None, false, now).await?;
            uploads::advance(tx, key, 1, 10, None, now).await
        })
    });
    assert!(kept.await);
}

async fn has_row(world: &World<'_>, key: &str) -> bool {
    uploads::find(&mut world.database.db.reader().await.unwrap(), key)
        .await
        .unwrap()
        .is_some()
}

async fn expire(world: &World<'_>) -> String {
    match world.run(Job::ExpireUploads {}).await.1.unwrap() {
        Outcome::Done(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_upload_that_nobody_continues_goes_with_its_bytes() {
    each(async |world| {
        begin(world, "left").await;
        world.advance(HOUR * 23);
        begin(world, "lively").await;
        assert!(expire(world).await.starts_with("0 uploads expired"));
        world.advance(HOUR * 2);
        assert!(expire(world).await.starts_with("1 uploads expired"));
        assert!(!has_row(world, "left").await && !world.root.join("uploads/left").exists());
        assert!(has_row(world, "lively").await && world.root.join("uploads/lively").exists());
    });
}

#[test]
fn an_upload_that_is_continued_stays() {
    each(async |world| {
        begin(world, "slow").await;
        world.advance(HOUR * 23);
        let kept = world.write(|tx| {
            Box::pin(async move {
                let now = tx.now().await?;
                uploads::advance(tx, "slow", 1, 10, None, now).await
            })
        });
        assert!(kept.await);
        world.advance(HOUR * 2);
        expire(world).await;
        assert!(has_row(world, "slow").await && world.root.join("uploads/slow").exists());
    });
}

#[test]
fn a_finished_upload_answers_for_an_hour() {
    each(async |world| {
        let digest = blob::digest_of(Algorithm::Sha256, b"content");
        let finished = world.write(move |tx| {
            Box::pin(async move {
                let now = tx.now().await?;
                let end = uploads::End {
                    epoch: 0,
                    received: 7,
                    digest,
                    leaves: false,
                };
                uploads::finish(tx, "finished", "library/a", &end, now).await
            })
        });
        assert!(finished.await);
        world.advance(HOUR.checked_sub(Duration::from_mins(1)).unwrap());
        expire(world).await;
        assert!(has_row(world, "finished").await);
        world.advance(HOUR);
        assert!(expire(world).await.contains("1 finished ones forgotten"));
        assert!(!has_row(world, "finished").await);
    });
}

#[test]
fn files_without_a_session_go_when_they_are_old() {
    each(async |world| {
        let stray = world.root.join("uploads/put-of-a-crash");
        fs::write(&stray, b"bytes").unwrap();
        expire(world).await;
        assert!(stray.exists());
        world.advance(HOUR * 25);
        assert!(expire(world).await.contains("1 stray files removed"));
        assert!(!stray.exists());
    });
}

#[test]
fn the_file_of_a_session_is_told_by_the_name_its_row_has() {
    each(async |world| {
        begin(world, "moved").await;
        let uploads = world.root.join("uploads");
        fs::write(uploads.join("moved-2"), b"ten bytes!").unwrap();
        let changed = world.write(|tx| {
            Box::pin(async move {
                let now = tx.now().await?;
                uploads::change_file(tx, "moved", 1, "moved-2", None, now).await
            })
        });
        assert!(changed.await);
        world.advance(HOUR * 23);
        let touched = world.write(|tx| {
            Box::pin(async move {
                let now = tx.now().await?;
                uploads::advance(tx, "moved", 1, 10, None, now).await
            })
        });
        assert!(touched.await);
        world.advance(HOUR * 2);
        assert!(expire(world).await.contains("1 stray files removed"));
        assert!(!uploads.join("moved").exists() && uploads.join("moved-2").exists());
        world.advance(HOUR * 25);
        assert!(expire(world).await.starts_with("1 uploads expired"));
        assert!(!uploads.join("moved-2").exists());
    });
}

#[test]
fn a_cancelled_upload_is_known_as_long_as_its_id() {
    each(async |world| {
        begin(world, "cancelled").await;
        let cancelled = world.write(|tx| {
            Box::pin(async move {
                let now = tx.now().await?;
                Ok(uploads::cancel(tx, "cancelled", "library/a", now)
                    .await?
                    .is_some())
            })
        });
        assert!(cancelled.await);
        world.advance(HOUR * 23);
        expire(world).await;
        assert!(has_row(world, "cancelled").await);
        world.advance(HOUR * 2);
        expire(world).await;
        assert!(!has_row(world, "cancelled").await);
    });
}

/// Content that comes in two parts.
const LARGE: usize = 6 << 20;

async fn sessions(world: &World<'_>) -> Vec<uploads::Upload> {
    let reader = &mut *world.database.db.reader().await.unwrap();
    uploads::list(reader, "", 100).await.unwrap()
}

async fn row_of(world: &World<'_>, digest: &Digest) -> Blob {
    let reader = &mut *world.database.db.reader().await.unwrap();
    blobs::newest(reader, digest).await.unwrap().unwrap()
}

/// Whether its bytes are there and right.
async fn is_good(world: &World<'_>, digest: &Digest) -> bool {
    let (row, cancel) = (row_of(world, digest).await, CancellationToken::new());
    let store = world.registry.store();
    let verdict = store.verify(digest, &row.location, None, &cancel).await;
    matches!(verdict.unwrap(), Verdict::Good { .. })
}

#[test]
fn in_a_bucket_what_an_upload_left_goes_and_its_content_stays() {
    in_a_bucket(&async |world, s3, bucket| {
        world.library().await;
        let layer = vec![7; LARGE];
        let digest = blob::digest_of(Algorithm::Sha256, &layer);
        world.push_blob("library/a", &layer).await;
        let first = row_of(world, &digest).await.location;
        assert_eq!(sessions(world).await[0].file, "", "it left nothing");
        // Somebody who died had begun to send it once more, under the same key.
        let key = sessions(world).await[0].id.clone();
        let stray = format!("objects/{}/{key}.0123456789abcdef", &key[..2]);
        s3.call(testkit::Method::POST, bucket, &stray, "uploads")
            .await;
        assert_eq!(world.registry.store().uploads().await.unwrap().len(), 1);
        // The same content again: what is there already is content, and the second object is nobody's.
        world.push_blob("library/b", &layer).await;
        let second = sessions(world).await.into_iter().find(|row| row.id != key);
        let second = second.unwrap().file;
        let store = world.registry.store();
        assert_eq!(store.own_locations(&second).await.unwrap().len(), 1);

        world.advance(HOUR * 26);
        let told = expire(world).await;
        assert!(
            told.contains("2 finished ones forgotten, 1 stray"),
            "{told}"
        );
        assert!(store.uploads().await.unwrap().is_empty());
        assert!(store.own_locations(&second).await.unwrap().is_empty());
        assert_eq!(row_of(world, &digest).await.location, first);
        assert!(is_good(world, &digest).await);
        let listed = store.list().next().await.unwrap().unwrap();
        assert_eq!(listed.found.len(), 1, "the second mark is gone: {listed:?}");
    });
}

#[test]
fn in_a_bucket_a_lost_content_is_healed_beside_its_old_place() {
    in_a_bucket(&async |world, s3, bucket| {
        world.library().await;
        let layer = vec![8; LARGE];
        let digest = blob::digest_of(Algorithm::Sha256, &layer);
        world.push_blob("library/a", &layer).await;
        let old = row_of(world, &digest).await;
        let key = sessions(world).await[0].id.clone();
        let name = old.location.split('.').nth(2).unwrap();
        let object = format!("objects/{}/{key}.{name}", &key[..2]);
        s3.call(testkit::Method::DELETE, bucket, &object, "").await;
        world.registry.suspect(&digest).await.unwrap();
        assert_eq!(row_of(world, &digest).await.state, State::Lost);

        world.push_blob("library/a", &layer).await;
        let healed = row_of(world, &digest).await;
        assert_eq!((healed.id, healed.state), (old.id, State::Live));
        assert_ne!(healed.location, old.location);
        assert!(is_good(world, &digest).await);
        // The old place goes the way of all others, its mark too.
        let reader = &mut *world.database.db.reader().await.unwrap();
        let rows = blobs::find_all(reader, &[digest]).await.unwrap();
        let going: Vec<_> = rows
            .iter()
            .filter(|row| row.state == State::Deleting)
            .collect();
        assert_eq!(going.len(), 1);
        assert_eq!(going[0].location, old.location);
    });
}
