use std::{fs, time::Duration};

use db::uploads;
use model::job::Job;
use oci::digest::Algorithm;

use crate::{
    Outcome,
    world::{World, each},
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
