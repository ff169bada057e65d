//! Uploads that go straight, break off, go on elsewhere, and are refused.

use std::{fs, time::Duration};

use blob::{Error, HashState};
use bytes::Bytes;
use futures_util::FutureExt;
use oci::digest::Algorithm::{Sha256, Sha512};

use crate::{Home, content, sha256};

const BIG: usize = 3 * (256 << 10) + 12_345;

#[tokio::test]
async fn bytes_in_frames_of_any_size_become_content() {
    let home = Home::new().await;
    let all = content(BIG);
    for (n, frame) in [1_000, 16 << 10, 40_000, 256 << 10, BIG]
        .into_iter()
        .enumerate()
    {
        let mut writer = home.store.begin(&format!("u{n}"), Sha256).await.unwrap();
        let mut at = 0;
        for part in all.chunks(frame) {
            writer.write(Bytes::copy_from_slice(part)).await.unwrap();
            at += part.len() as u64;
            assert_eq!(writer.offset(), at);
        }
        let staged = writer.finish(&sha256(&all)).await.unwrap();
        assert_eq!((staged.digest, staged.size), (sha256(&all), BIG as u64));
        let location = format!("data.{n}");
        staged.publish(&location).await.unwrap();
        assert_eq!(home.read(&sha256(&all), &location).await.unwrap(), all);
    }
    assert_eq!(home.store.uploads().await.unwrap(), []);
}

#[tokio::test]
async fn nothing_is_content_too() {
    let home = Home::new().await;
    let writer = home.store.begin("empty", Sha256).await.unwrap();
    let staged = writer.finish(&sha256(b"")).await.unwrap();
    staged.publish("data").await.unwrap();
    assert_eq!(home.read(&sha256(b""), "data").await.unwrap(), "");
}

#[tokio::test]
async fn an_upload_goes_on_at_any_byte_in_another_process() {
    let all = content(BIG);
    let cases = [
        (0, 0),
        (0, 1),
        (1, 1),
        (63, 64),
        (64, 65),
        (65, 65),
        (100_001, 262_144),
        (262_144, 262_145),
        (777_777, BIG),
        (BIG, BIG),
    ];
    for (saved_at, at) in cases {
        let home = Home::new().await;
        let mut writer = home.store.begin("broken", Sha256).await.unwrap();
        writer
            .write(Bytes::copy_from_slice(&all[..saved_at]))
            .await
            .unwrap();
        let saved = writer.flush().await.unwrap();
        assert_eq!(saved.offset, saved_at as u64);
        writer
            .write(Bytes::copy_from_slice(&all[saved_at..at]))
            .await
            .unwrap();
        assert_eq!(writer.settle().await.unwrap(), at as u64);
        drop(writer);

        let saved = HashState::from_bytes(&saved.to_bytes()).unwrap();
        let store = home.reopened().await;
        let resumed = store
            .resume("broken", at as u64, Some(&saved), Sha256)
            .await;
        let mut writer = resumed.unwrap();
        assert_eq!(writer.offset(), at as u64);
        writer
            .write(Bytes::copy_from_slice(&all[at..]))
            .await
            .unwrap();
        let staged = writer.finish(&sha256(&all)).await.unwrap();
        staged.publish("data").await.unwrap();
        let stored = home.read(&sha256(&all), "data").await.unwrap();
        assert!(stored == all, "resumed at {at} with a state at {saved_at}");
    }
}

#[tokio::test]
async fn what_lies_behind_the_counted_byte_is_cut_off() {
    let home = Home::new().await;
    let all = content(10_000);
    let mut stale = all[..4_000].to_vec();
    stale.resize(94_000, 0xAA);
    fs::write(home.upload("long"), stale).unwrap();

    let mut writer = home
        .store
        .resume("long", 4_000, None, Sha256)
        .await
        .unwrap();
    writer
        .write(Bytes::copy_from_slice(&all[4_000..]))
        .await
        .unwrap();
    let staged = writer.finish(&sha256(&all)).await.unwrap();
    staged.publish("data").await.unwrap();
    assert_eq!(fs::read(home.blob(&sha256(&all), "data")).unwrap(), all);
}

#[tokio::test]
async fn a_file_shorter_than_what_was_counted_is_refused() {
    let home = Home::new().await;
    fs::write(home.upload("short"), [1; 99]).unwrap();
    match home.store.resume("short", 100, None, Sha256).await {
        Err(Error::Short {
            have: 99,
            want: 100,
        }) => {}
        other => panic!("{:?}", other.err()),
    }
    let missing = home.store.resume("missing", 0, None, Sha256).await;
    assert!(matches!(missing.err(), Some(Error::NotFound)));
}

#[tokio::test]
async fn a_saved_state_counts_up_to_its_offset_only() {
    let home = Home::new().await;
    let all = content(2_000);
    let saved_at = |state: &str, len: usize| {
        let (home, bytes) = (&home, Bytes::copy_from_slice(&all[..len]));
        let key = state.to_owned();
        async move {
            let mut writer = home.store.begin(&key, Sha256).await.unwrap();
            writer.write(bytes).await.unwrap();
            writer.flush().await.unwrap()
        }
    };

    // Bytes behind the state are read again, so damage there shows.
    let early = saved_at("early", 1_000).await;
    let mut damaged = all.clone();
    damaged[1_500] ^= 1;
    fs::write(home.upload("early"), &damaged).unwrap();
    let writer = home
        .store
        .resume("early", 2_000, Some(&early), Sha256)
        .await
        .unwrap();
    let refused = writer.finish(&sha256(&all)).await;
    assert!(
        matches!(refused.err(), Some(Error::DigestMismatch { actual, .. }) if *actual == sha256(&damaged))
    );

    // A state beyond the counted byte, or of another algorithm, is of no use.
    let late = saved_at("late", 1_900).await;
    let writer = home
        .store
        .resume("late", 700, Some(&late), Sha256)
        .await
        .unwrap();
    writer.finish(&sha256(&all[..700])).await.unwrap();
    let writer = home
        .store
        .resume("late", 600, Some(&late), Sha512)
        .await
        .unwrap();
    let expected = blob::digest_of(Sha512, &all[..600]);
    assert_eq!(writer.finish(&expected).await.unwrap().digest, expected);
}

#[tokio::test]
async fn a_wrong_digest_is_refused_and_the_upload_kept() {
    let home = Home::new().await;
    let mut writer = home.store.begin("wrong", Sha256).await.unwrap();
    writer.write("right".into()).await.unwrap();
    match writer.finish(&sha256(b"wrong")).await {
        Err(Error::DigestMismatch { expected, actual }) => {
            assert_eq!((*expected, *actual), (sha256(b"wrong"), sha256(b"right")));
        }
        _ => panic!("that digest is wrong"),
    }
    let writer = home.store.resume("wrong", 5, None, Sha256).await.unwrap();
    assert!(writer.finish(&sha256(b"right")).await.is_ok());
}

#[tokio::test]
async fn another_algorithm_may_be_named_at_the_end() {
    let home = Home::new().await;
    let all = content(BIG);
    let digest = blob::digest_of(Sha512, &all);
    for (key, from_start) in [("late", Sha256), ("early", Sha512)] {
        let mut writer = home.store.begin(key, from_start).await.unwrap();
        writer.write(Bytes::copy_from_slice(&all)).await.unwrap();
        writer
            .finish(&digest)
            .await
            .unwrap()
            .publish("data")
            .await
            .unwrap();
        assert_eq!(home.read(&digest, "data").await.unwrap(), all);
    }
    let mut writer = home.store.begin("bad", Sha256).await.unwrap();
    writer.write("other".into()).await.unwrap();
    let refused = writer.finish(&digest).await;
    assert!(matches!(refused.err(), Some(Error::DigestMismatch { .. })));
}

#[tokio::test]
async fn a_write_that_its_caller_gave_up_is_whole_or_not_there() {
    let home = Home::new().await;
    let mut writer = home.store.begin("hasty", Sha256).await.unwrap();
    let mut accepted = Vec::new();
    for n in 0..200_u32 {
        let frame = vec![n as u8; 50_000];
        let before = writer.offset();
        let given_up = writer.write(Bytes::from(frame.clone())).now_or_never();
        match writer.offset() - before {
            0 => assert!(given_up.is_none()),
            50_000 => accepted.extend_from_slice(&frame),
            part => panic!("{part} bytes of a frame were accepted"),
        }
    }
    assert_eq!(writer.settle().await.unwrap(), accepted.len() as u64);
    assert!(writer.finish(&sha256(&accepted)).await.is_ok());
}

#[tokio::test]
async fn an_upload_holds_at_most_a_mebibyte_in_memory() {
    let home = Home::new().await;
    let mut writer = home.store.begin("lean", Sha256).await.unwrap();
    for frame in [5_000, 100_000, 400_000].repeat(60) {
        writer.write(Bytes::from(vec![7; frame])).await.unwrap();
        let in_file = fs::metadata(home.upload("lean")).map_or(0, |meta| meta.len());
        assert!(writer.offset() - in_file <= 1 << 20);
    }
}

#[tokio::test]
async fn an_upload_has_one_writer_at_a_time() {
    let home = Home::new().await;
    let mut first = home.store.begin("one", Sha256).await.unwrap();
    first.write("abc".into()).await.unwrap();
    first.settle().await.unwrap();
    let mut second = Box::pin(home.store.resume("one", 3, None, Sha256));
    assert!(
        (&mut second).now_or_never().is_none(),
        "the first still writes"
    );
    drop(first);
    let second = tokio::time::timeout(Duration::from_mins(1), second).await;
    assert_eq!(second.unwrap().unwrap().offset(), 3);
}

#[tokio::test]
async fn what_an_earlier_request_left_under_a_key_goes_when_it_is_begun_again() {
    let home = Home::new().await;
    fs::write(home.upload("taken"), "theirs").unwrap();
    let mut writer = home.store.begin("taken", Sha256).await.unwrap();
    writer.write("ours".into()).await.unwrap();
    assert_eq!(writer.settle().await.unwrap(), 4);
    assert_eq!(fs::read(home.upload("taken")).unwrap(), b"ours");
    for key in ["", "..", "a/b", "A"] {
        let refused = home.store.begin(key, Sha256).await.err();
        assert!(matches!(refused, Some(Error::Invalid(..))), "{key}");
    }
}

#[tokio::test]
async fn an_upload_taken_from_another_node_goes_on_in_a_copy() {
    let home = Home::new().await;
    let all = content(BIG);
    fs::write(home.upload("theirs"), &all).unwrap();
    let at = BIG as u64 - 7;
    let mut writer = home
        .store
        .resume_copy("theirs", "ours", at, Sha256)
        .await
        .unwrap();
    // The other node writes on, to its own file.
    fs::write(home.upload("theirs"), vec![0; BIG]).unwrap();
    writer
        .write(Bytes::copy_from_slice(&all[BIG - 7..]))
        .await
        .unwrap();
    assert!(writer.finish(&sha256(&all)).await.is_ok());
    let short = home
        .store
        .resume_copy("theirs", "more", BIG as u64 + 1, Sha256)
        .await;
    assert!(matches!(short.err(), Some(Error::Short { .. })));
}

#[tokio::test]
async fn uploads_are_listed_and_discarded() {
    let home = Home::new().await;
    for (key, len) in [("a", 3), ("b", 5)] {
        let mut writer = home.store.begin(key, Sha256).await.unwrap();
        writer.write(Bytes::from(vec![1; len])).await.unwrap();
        writer.settle().await.unwrap();
    }
    home.store
        .begin("nothing-yet", Sha256)
        .await
        .unwrap()
        .settle()
        .await
        .unwrap();
    let mut seen: Vec<_> = home.store.uploads().await.unwrap();
    seen.sort_by(|a, b| a.key.cmp(&b.key));
    let seen: Vec<_> = seen.iter().map(|u| (u.key.as_str(), u.size)).collect();
    assert_eq!(seen, [("a", 3), ("b", 5)], "nothing came for the third");
    for key in ["a", "b", "nothing-yet", "never-there"] {
        home.store.discard(key).await.unwrap();
    }
    assert_eq!(home.store.uploads().await.unwrap(), []);
}

#[tokio::test]
async fn a_file_that_is_worked_on_is_told_apart() {
    let home = Home::new().await;
    let mut writer = home.store.begin("busy", Sha256).await.unwrap();
    writer.write("bytes".into()).await.unwrap();
    writer.settle().await.unwrap();
    let is_busy = async || home.store.uploads().await.unwrap()[0].is_busy;
    assert!(is_busy().await);
    drop(writer);
    assert!(!is_busy().await);
}
