//! From a whole upload to content under its digest, with others at work in the same place.

use std::{fs, os::unix::fs::MetadataExt};

use blob::{Error, Verdict, digest_of};
use bytes::Bytes;
use oci::digest::Algorithm::{Sha256, Sha512};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Home, content, sha256};

#[tokio::test]
async fn publishing_over_a_damaged_copy_heals_it() {
    let home = Home::new().await;
    let all = content(70_000);
    let digest = home.store(&all).await;
    fs::write(home.blob(&digest, "data"), &all[..60_000]).unwrap();
    assert!(matches!(
        home.read(&digest, "data").await,
        Err(Error::Damaged(_))
    ));
    home.stage("again", &all)
        .await
        .publish("data")
        .await
        .unwrap();
    assert_eq!(home.read(&digest, "data").await.unwrap(), all);
}

#[tokio::test]
async fn the_bytes_follow_to_another_location() {
    let home = Home::new().await;
    let all = content(70_000);
    for (n, collected) in [(1, true), (2, false)] {
        let staged = home.stage("mover", &all).await;
        staged.publish("data").await.unwrap();
        let old = (staged.digest, "data".to_owned());
        if collected {
            home.store
                .delete(std::slice::from_ref(&old))
                .await
                .remove(0)
                .unwrap();
        }
        let next = format!("data.{n}");
        staged.publish(&next).await.unwrap();
        // The collector comes late: it may only hit the old bytes.
        home.store.delete(&[old]).await.remove(0).unwrap();
        assert_eq!(home.read(&staged.digest, &next).await.unwrap(), all);
        if home.is_local() {
            let published = fs::metadata(home.blob(&staged.digest, &next)).unwrap();
            assert_eq!(published.nlink(), 1);
        }
        assert_eq!(home.store.uploads().await.unwrap(), []);
    }
}

#[tokio::test]
async fn bytes_that_somebody_else_put_at_the_first_location_are_not_taken_along() {
    let home = Home::new().await;
    let all = content(70_000);
    let staged = home.stage("mine", &all).await;
    staged.publish("data").await.unwrap();
    home.stage("theirs", &all)
        .await
        .publish("data")
        .await
        .unwrap();
    fs::write(home.blob(&staged.digest, "data"), "damaged meanwhile").unwrap();
    staged.publish("data.1").await.unwrap();
    assert_eq!(home.read(&staged.digest, "data.1").await.unwrap(), all);
}

#[tokio::test]
async fn a_key_that_another_node_began_anew_is_not_published_in_our_name() {
    let home = Home::new().await;
    let all = content(70_000);
    let staged = home.stage("both", &all).await;
    fs::remove_file(home.upload("both")).unwrap();
    fs::write(home.upload("both"), "theirs, not whole").unwrap();
    staged.publish("data").await.unwrap();
    assert_eq!(home.read(&staged.digest, "data").await.unwrap(), all);
    assert_eq!(fs::read(home.upload("both")).unwrap(), b"theirs, not whole");
    staged.publish("data.1").await.unwrap();
    assert_eq!(home.read(&staged.digest, "data.1").await.unwrap(), all);
    let keys: Vec<_> = home.store.uploads().await.unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
}

#[tokio::test]
async fn publishing_twice_is_publishing_once() {
    let home = Home::new().await;
    let staged = home.stage("twice", b"twice").await;
    staged.publish("data").await.unwrap();
    staged.publish("data").await.unwrap();
    assert_eq!(home.read(&staged.digest, "data").await.unwrap(), "twice");
    for location in ["../data", "data/x", "", "other"] {
        let refused = staged.publish(location).await;
        assert!(matches!(refused, Err(Error::Invalid(..))), "{location}");
    }
}

#[tokio::test]
async fn a_rename_that_was_done_already_counts() {
    let home = Home::new().await;
    let all = content(70_000);
    let staged = home.stage("renamed", &all).await;
    let target = home.blob(&staged.digest, "data");
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    fs::rename(home.upload("renamed"), &target).unwrap();
    staged.publish("data").await.unwrap();

    // With wrong bytes at the target, or none, the upload was tidied away: its bytes are still in our hands.
    for wrong in [Some(vec![0; 70_000]), None] {
        let staged = home.stage("gone", &all).await;
        fs::remove_file(home.upload("gone")).unwrap();
        fs::remove_file(&target).unwrap();
        if let Some(wrong) = wrong {
            fs::write(&target, wrong).unwrap();
        }
        staged.publish("data").await.unwrap();
        assert_eq!(home.read(&staged.digest, "data").await.unwrap(), all);
        assert_eq!(home.store.uploads().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_repeated_finish_finds_the_bytes_at_their_place() {
    let home = Home::new().await;
    let all = content(70_000);
    let size = all.len() as u64;
    let staged = home.stage("lost-answer", &all).await;
    staged.publish("data").await.unwrap();
    let digest = staged.digest;
    drop(staged);

    let store = home.reopened().await;
    let again = store
        .restage("lost-answer", &digest, "data", size)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((again.digest, again.size), (digest, size));
    again.publish("data").await.unwrap();
    again.publish("data.1").await.unwrap();
    drop(again);
    assert_eq!(home.read(&digest, "data.1").await.unwrap(), all);

    let elsewhere = store.restage("lost-answer", &digest, "data.2", size).await;
    assert!(elsewhere.unwrap().is_none());
    let shorter = store
        .restage("lost-answer", &digest, "data", size - 1)
        .await;
    assert!(shorter.unwrap().is_none());
    fs::write(home.blob(&digest, "data"), vec![0; 70_000]).unwrap();
    let damaged = store.restage("lost-answer", &digest, "data", size).await;
    assert!(damaged.unwrap().is_none());
}

#[tokio::test]
async fn an_upload_that_is_content_under_a_second_name_is_never_cut() {
    let home = Home::new().await;
    let digest = home.store(b"precious").await;
    fs::hard_link(home.blob(&digest, "data"), home.upload("crashed")).unwrap();
    let resumed = home.store.resume("crashed", 3, None, Sha256).await;
    assert!(matches!(resumed.err(), Some(Error::NotFound)));
    assert_eq!(home.read(&digest, "data").await.unwrap(), "precious");
}

#[tokio::test]
async fn nothing_is_put_beneath_a_share_that_went_away() {
    let home = Home::new().await;
    let staged = home.stage("orphan", b"orphan").await;
    let blobs = home.path("docker/registry/v2/blobs");
    fs::rename(&blobs, home.path("elsewhere")).unwrap();
    assert!(staged.publish("data").await.is_err());
    assert!(!blobs.exists());
    fs::rename(home.path("uploads"), home.path("uploads-elsewhere")).unwrap();
    let mut writer = home.store.begin("fresh", Sha256).await.unwrap();
    writer.write("bytes".into()).await.unwrap();
    assert!(writer.settle().await.is_err());
    assert!(!home.path("uploads").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn publishing_and_collecting_one_digest_at_once_loses_nothing() {
    let home = Home::new().await;
    let all = content(3_000);
    let digest = sha256(&all);
    let mut tasks = JoinSet::new();
    for writer in 0..4_u64 {
        let (store, all) = (home.store.clone(), all.clone());
        tasks.spawn(async move {
            for n in 0..25 {
                let key = format!("w{writer}-{n}");
                let location = format!("data.{}", writer * 100 + n);
                let mut upload = store.begin(&key, Sha256).await.unwrap();
                upload.write(all.clone().into()).await.unwrap();
                let staged = upload.finish(&digest).await.unwrap();
                staged.publish(&location).await.unwrap();
                let cancel = CancellationToken::new();
                let verdict = store.verify(&digest, &location, None, &cancel);
                assert_eq!(verdict.await.unwrap(), Verdict::Good { size: 3_000 });
                let freed = store.delete(&[(digest, location)]).await.remove(0);
                assert_eq!(freed.unwrap(), 3_000);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert!(home.list().await.found.is_empty());
    if home.is_local() {
        assert!(!home.blob(&digest, "data").parent().unwrap().exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_uploads_at_once_all_arrive() {
    let home = Home::new().await;
    let mut tasks = JoinSet::new();
    for n in 0..64_usize {
        let store = home.store.clone();
        tasks.spawn(async move {
            let all = content(n * 20_011);
            let mut upload = store.begin(&format!("many-{n}"), Sha256).await.unwrap();
            for frame in all.chunks(9_999) {
                upload
                    .write(bytes::Bytes::copy_from_slice(frame))
                    .await
                    .unwrap();
            }
            let staged = upload.finish(&sha256(&all)).await.unwrap();
            staged.publish("data").await.unwrap();
            (staged.digest, staged.size)
        });
    }
    let mut stored = tasks.join_all().await;
    let found = home.list().await.found;
    let mut found: Vec<_> = found.iter().map(|f| (f.digest, f.size)).collect();
    stored.sort();
    found.sort();
    assert_eq!(found, stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_location_that_is_deleted_while_it_is_published_is_told_as_such() {
    let home = Home::new().await;
    let done = CancellationToken::new();
    let digest = sha256(b"taken");
    let mut collector = JoinSet::new();
    collector.spawn({
        let (store, done) = (home.store.clone(), done.clone());
        async move {
            while !done.is_cancelled() {
                store.delete(&[(digest, "data".to_owned())]).await;
            }
        }
    });
    for round in 0..300 {
        let staged = home.stage(&format!("push{round}"), b"taken").await;
        match staged.publish("data").await {
            Ok(()) | Err(Error::Withdrawn) => {}
            Err(other) => panic!("{other}"),
        }
        staged.publish("data.1").await.unwrap();
        assert_eq!(home.read(&digest, "data.1").await.unwrap(), "taken");
        match home.store.put(&digest, "data", "taken".into()).await {
            Ok(()) | Err(Error::Withdrawn) => {}
            Err(other) => panic!("{other}"),
        }
        let last = [(digest, "data.1".to_owned())];
        home.store.delete(&last).await.remove(0).unwrap();
    }
    done.cancel();
    collector.join_all().await;
}

#[tokio::test]
async fn an_upload_is_ended_and_published_in_one_turn() {
    let home = Home::new().await;
    let all = content(700_000);
    for (digest, size) in [(sha256(&all), 700_000), (digest_of(Sha512, &all), 700_000)] {
        let mut writer = home.store.begin("one-turn", Sha256).await.unwrap();
        writer.write(Bytes::copy_from_slice(&all)).await.unwrap();
        // A wrong digest leaves the upload as it is, and nothing under that digest.
        let wrong = sha256(b"other");
        let refused = writer.finish_at(&wrong, "data").await.err();
        assert!(matches!(refused, Some(Error::DigestMismatch { .. })));
        assert!(!home.blob(&wrong, "data").exists());
        assert_eq!(writer.settle().await.unwrap(), size);

        let (staged, published) = writer.finish_at(&digest, "data").await.unwrap();
        published.unwrap();
        assert_eq!((staged.digest, staged.size), (digest, size));
        assert_eq!(home.read(&digest, "data").await.unwrap(), all);
        assert_eq!(home.store.uploads().await.unwrap(), []);
        staged.publish("data.1").await.unwrap();
        assert_eq!(home.read(&digest, "data.1").await.unwrap(), all);
    }
}

#[tokio::test]
async fn an_end_that_was_not_waited_for_is_not_gone_on_from() {
    let home = Home::new().await;
    let digest = sha256(b"begun");
    let mut writer = home.store.begin("begun", Sha256).await.unwrap();
    writer.write("begun".into()).await.unwrap();
    {
        let mut end = std::pin::pin!(writer.finish_at(&digest, "data"));
        assert!(futures_util::poll!(&mut end).is_pending());
    }
    assert!(matches!(
        writer.write("more".into()).await,
        Err(Error::Lost(_))
    ));
}
