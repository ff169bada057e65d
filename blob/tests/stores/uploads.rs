//! Uploads of every size: begun, put aside, gone on with, ended, given up.

use blob::{Error, Saved};
use bytes::Bytes;
use oci::digest::Algorithm;

use crate::{
    PART, World, append, begin, content, finish, on_buckets, on_each, put_aside, resume, sha256,
};

/// Content of that size, in chunks that are put aside in between; its location.
async fn upload(world: &World, key: &str, bytes: &[u8], chunks: &[usize]) -> String {
    let mut writer = begin(&world.store, key).await;
    let mut begun = 0;
    for end in chunks.iter().copied().chain([bytes.len()]) {
        append(&mut writer, &bytes[begun..end]).await;
        assert_eq!(writer.offset(), end as u64);
        begun = end;
        if end < bytes.len() {
            let saved = put_aside(&mut writer).await;
            assert_eq!(saved.offset(), end as u64);
            drop(writer);
            writer = resume(&world.store, key, &saved).await.unwrap();
        }
    }
    let staged = finish(&mut writer, &sha256(bytes)).await.unwrap();
    assert_eq!(staged.size, bytes.len() as u64);
    staged.location("data").to_owned()
}

#[test]
fn uploads_of_every_size_become_content_and_are_listed() {
    on_each(async |world| {
        let sizes = [
            0,
            1,
            65_536,
            65_537,
            PART - 1,
            PART,
            PART + 1,
            2 * PART,
            3 * PART + 7,
        ];
        let mut expected = Vec::new();
        for (n, size) in sizes.into_iter().enumerate() {
            let bytes = content(n as u64, size);
            let location = upload(&world, &format!("size-{n}"), &bytes, &[]).await;
            let digest = sha256(&bytes);
            assert_eq!(
                world.read(&digest, &location).await.unwrap(),
                bytes,
                "{size}"
            );
            expected.push((digest.to_string(), location, size as u64));
        }
        let mut found: Vec<_> = world
            .list()
            .await
            .found
            .into_iter()
            .map(|found| (found.digest.to_string(), found.location, found.size))
            .collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        // Each is deleted by its location, whatever object it lies in.
        let items: Vec<_> = found
            .iter()
            .map(|(digest, location, _)| (digest.parse().unwrap(), location.clone()))
            .collect();
        for answer in world.store.delete(&items).await {
            answer.unwrap();
        }
        assert!(world.list().await.found.is_empty());
        let (digest, location) = &items[8];
        assert!(matches!(
            world.read(digest, location).await,
            Err(Error::NotFound)
        ));
    });
}

#[test]
fn chunks_of_every_kind_go_on_where_the_last_ended() {
    on_each(async |world| {
        let total = 2 * PART + 300_000;
        let splits: [&[usize]; 6] = [
            &[0],
            &[10],
            &[70_000],
            &[70_000, 70_001, 140_000],
            &[PART - 1, PART, PART + 1, 2 * PART],
            &[PART + 100_000, 2 * PART + 10],
        ];
        for (n, chunks) in splits.into_iter().enumerate() {
            let bytes = content(100 + n as u64, total);
            let location = upload(&world, &format!("chunks-{n}"), &bytes, chunks).await;
            let read = world.read(&sha256(&bytes), &location).await.unwrap();
            assert_eq!(read, bytes, "{chunks:?}");
        }
        let small = content(9, 80_000);
        let location = upload(&world, "small", &small, &[80_000, 80_000]).await;
        assert_eq!(world.read(&sha256(&small), &location).await.unwrap(), small);
    });
}

#[test]
fn a_wrong_digest_is_refused_and_the_upload_goes_on() {
    on_each(async |world| {
        for (key, size) in [("one", 1000), ("aside", 100_000), ("parts", PART + 100_000)] {
            let bytes = content(7, size);
            let mut writer = begin(&world.store, key).await;
            append(&mut writer, &bytes[..size - 1]).await;
            let saved = put_aside(&mut writer).await;
            drop(writer);
            let mut writer = resume(&world.store, key, &saved).await.unwrap();
            let wrong = finish(&mut writer, &sha256(&bytes)).await.map(|_| ());
            assert!(
                matches!(wrong, Err(Error::DigestMismatch { .. })),
                "{wrong:?}"
            );
            append(&mut writer, &bytes[size - 1..]).await;
            let staged = finish(&mut writer, &sha256(&bytes)).await.unwrap();
            let read = world.read(&sha256(&bytes), staged.location("data")).await;
            assert_eq!(read.unwrap(), bytes);
        }
    });
}

#[test]
fn another_algorithm_may_be_named_at_the_end() {
    on_each(async |world| {
        for (key, size) in [("one", 1000), ("parts", PART + 1000)] {
            let bytes = content(8, size);
            let digest = blob::digest_of(Algorithm::Sha512, &bytes);
            let mut writer = begin(&world.store, key).await;
            append(&mut writer, &bytes).await;
            let staged = finish(&mut writer, &digest).await.unwrap();
            let read = world.read(&digest, staged.location("data")).await;
            assert_eq!(read.unwrap(), bytes);
        }
    });
}

#[test]
fn an_end_may_be_repeated_when_its_commit_failed() {
    on_buckets(async |world| {
        for (key, size) in [("one", 1000), ("aside", 100_000), ("parts", PART + 100_000)] {
            let bytes = content(10, size);
            let digest = sha256(&bytes);
            let mut writer = begin(&world.store, key).await;
            append(&mut writer, &bytes).await;
            let saved = put_aside(&mut writer).await;
            drop(writer);
            let mut locations = Vec::new();
            for store in [world.store.clone(), world.another().await] {
                let mut writer = resume(&store, key, &saved).await.unwrap();
                let staged = finish(&mut writer, &digest).await.unwrap();
                locations.push(staged.location("data").to_owned());
            }
            assert_eq!(locations[0], locations[1]);
            assert_eq!(world.read(&digest, &locations[0]).await.unwrap(), bytes);
        }
    });
}

#[test]
fn what_does_not_reach_the_byte_that_was_counted_is_refused() {
    on_each(async |world| {
        let mut writer = begin(&world.store, "short").await;
        append(&mut writer, &content(11, 1000)).await;
        let saved = put_aside(&mut writer).await;
        drop(writer);
        let store = &world.store;
        let short = store
            .resume("short", 1001, Some(&saved), Algorithm::Sha256)
            .await
            .map(|_| ());
        assert!(
            matches!(
                short,
                Err(Error::Short {
                    have: 1000,
                    want: 1001
                })
            ),
            "{short:?}"
        );
    });
}

#[test]
fn an_upload_that_is_given_up_leaves_nothing() {
    on_each(async |world| {
        let kept = content(12, PART + 70_000);
        let location = upload(&world, "kept", &kept, &[70_000]).await;
        for (key, size) in [("small", 10), ("aside", 100_000), ("parts", PART + 100_000)] {
            let mut writer = begin(&world.store, key).await;
            append(&mut writer, &content(13, size)).await;
            let saved: Saved = put_aside(&mut writer).await;
            drop(writer);
            give_up(&world, key, &saved).await;
            give_up(&world, key, &saved).await;
            if size > 65_536 {
                // What was put aside in the row alone is nobody's business here.
                let resumed = match resume(&world.store, key, &saved).await {
                    Ok(mut writer) => {
                        append(&mut writer, &vec![0; PART]).await;
                        put_aside_or(&mut writer).await
                    }
                    Err(error) => Err(error),
                };
                assert!(
                    matches!(resumed, Err(Error::Lost(_) | Error::NotFound)),
                    "{key}: {resumed:?}"
                );
            }
        }
        // Of one that ended, what it put aside on its way goes, and its content stays.
        let digest = sha256(&kept);
        world.store.discard("kept", None).await.unwrap();
        let mut left = world.store.own_locations("kept").await.unwrap();
        left.retain(|own| *own != location);
        world.store.remove_own(&left, Some(&digest)).await.unwrap();
        let still = world.store.own_locations("kept").await.unwrap();
        assert!(still.iter().all(|own| *own == location), "{still:?}");
        assert_eq!(world.read(&digest, &location).await.unwrap(), kept);
        let left = world.store.uploads().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    });
}

/// As for an upload that nobody can go on with, and that is no content.
async fn give_up(world: &World, key: &str, saved: &Saved) {
    world.store.discard(key, Some(saved)).await.unwrap();
    let left = world.store.own_locations(key).await.unwrap();
    world.store.remove_own(&left, None).await.unwrap();
    assert!(world.store.own_locations(key).await.unwrap().is_empty());
}

async fn put_aside_or(writer: &mut blob::Writer) -> blob::Result<()> {
    writer.put_aside(0, 0).await.map(|_| ())
}

#[test]
fn what_a_crash_left_in_parts_is_found() {
    on_buckets(async |world| {
        let mut writer = begin(&world.store, "crashed").await;
        writer
            .write(Bytes::from(content(14, PART + 1)))
            .await
            .unwrap();
        let found = world.store.uploads().await.unwrap();
        assert_eq!((found.len(), found[0].is_busy), (1, true), "{found:?}");
        drop(writer);
        let found = world.another().await.uploads().await.unwrap();
        assert_eq!(found[0].key, "crashed");
        assert!(!found[0].is_busy);
    });
}
