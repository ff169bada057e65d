//! A session that changes hands while the one before still writes.

use blob::Error;
use bytes::Bytes;

use crate::{PART, append, begin, content, finish, note, on_buckets, put_aside, resume, sha256};

#[test]
fn a_session_goes_on_elsewhere_while_a_part_is_on_its_way() {
    on_buckets(async |world| {
        let bytes = content(1, 4 * PART + 1000);
        let mut first = begin(&world.store, "moved").await;
        // Three parts: two are noted, the third is on its way or here, and the row knows nothing of it.
        append(&mut first, &bytes[..3 * PART]).await;
        let row = note(&mut first).await;
        assert_eq!(row.offset(), 2 * PART as u64);
        let another = world.another().await;
        let mut second = resume(&another, "moved", &row).await.unwrap();
        append(&mut second, &bytes[2 * PART..]).await;
        // The first wakes up and goes on with what its client sent.
        let _ = first.write(Bytes::from(bytes[3 * PART..].to_vec())).await;
        let _ = first.put_aside(0, 0).await;
        let digest = sha256(&bytes);
        let staged = finish(&mut second, &digest).await.unwrap();
        let location = staged.location("data").to_owned();
        assert_eq!(world.read(&digest, &location).await.unwrap(), bytes);
        // Whatever the first does now, the content stays what it is.
        let ended = finish(&mut first, &sha256(b"another")).await.map(|_| ());
        assert!(ended.is_err());
        assert_eq!(world.read(&digest, &location).await.unwrap(), bytes);
    });
}

#[test]
fn a_part_that_comes_late_with_other_bytes_is_never_served() {
    on_buckets(async |world| {
        let bytes = content(3, 2 * PART + 10);
        let mut first = begin(&world.store, "late").await;
        append(&mut first, &bytes[..PART + 10]).await;
        let row = put_aside(&mut first).await;
        drop(first);
        let mut second = resume(&world.store, "late", &row).await.unwrap();
        let mut third = resume(&world.another().await, "late", &row).await.unwrap();
        append(&mut third, &bytes[PART + 10..]).await;
        third.save().await.unwrap();
        let whole = put_aside(&mut third).await;
        assert_eq!(whole.offset(), bytes.len() as u64);
        // Under the number that the other's part has.
        append(&mut second, &content(4, 2 * PART)).await;
        let _ = second.put_aside(0, 0).await;
        let digest = sha256(&bytes);
        let mut third = resume(&world.store, "late", &whole).await.unwrap();
        match finish(&mut third, &digest).await {
            Ok(staged) => {
                let read = world.read(&digest, staged.location("data")).await;
                assert_eq!(read.unwrap(), bytes);
            }
            Err(error) => assert!(!matches!(error, Error::DigestMismatch { .. }), "{error}"),
        }
    });
}

#[test]
fn an_upload_that_was_ended_elsewhere_is_no_more() {
    on_buckets(async |world| {
        let bytes = content(5, PART + 10);
        let mut writer = begin(&world.store, "ended").await;
        append(&mut writer, &bytes).await;
        let row = put_aside(&mut writer).await;
        world.store.discard("ended", Some(&row)).await.unwrap();
        let mut writer = resume(&world.store, "ended", &row).await.unwrap();
        let ended = finish(&mut writer, &sha256(&bytes)).await.map(|_| ());
        assert!(matches!(ended, Err(Error::Lost(_))), "{ended:?}");
    });
}

#[test]
fn an_end_that_comes_late_changes_no_content() {
    on_buckets(async |world| {
        let bytes = content(6, PART + 1000);
        for (key, len) in [("shorter", 900), ("as-long", 1000), ("longer", 1100)] {
            let mut first = begin(&world.store, key).await;
            append(&mut first, &bytes[..PART]).await;
            append(&mut first, &bytes[PART..PART + 10]).await;
            let row = put_aside(&mut first).await;
            drop(first);
            let another = world.another().await;
            let mut late = resume(&another, key, &row).await.unwrap();
            let other = [&bytes[..PART + 10], &content(7, len - 10)].concat();
            append(&mut late, &other[PART + 10..]).await;
            let mut right = resume(&world.store, key, &row).await.unwrap();
            append(&mut right, &bytes[PART + 10..]).await;
            let digest = sha256(&bytes);
            let staged = finish(&mut right, &digest).await.unwrap();
            // What its client sent is right by itself: its digest is told.
            let ended = finish(&mut late, &sha256(&other)).await.map(|_| ());
            assert!(ended.is_err(), "{key}");
            let read = world.read(&digest, staged.location("data")).await;
            assert_eq!(read.unwrap(), bytes, "{key}");
        }
    });
}
