//! Content as a whole: put, read, list, delete, check; and whose store it is.

use blob::{Error, ReadMode, Verdict};
use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio_util::sync::CancellationToken;

use crate::{World, content, on_buckets, on_each, sha256};

async fn pulled(world: &World, bytes: &[u8], range: std::ops::Range<u64>) -> blob::Result<Vec<u8>> {
    let len = bytes.len() as u64;
    let reader = world.store.open_blob(&sha256(bytes), "data", len).await?;
    let stream = reader.start(range, ReadMode::Copied).await?;
    let parts: Vec<Bytes> = stream.try_collect().await.unwrap();
    Ok(parts.concat())
}

#[test]
fn content_is_read_as_it_was_put() {
    on_each(async |world| {
        let (bytes, other) = (content(1, 700_000), content(2, 10));
        let (digest, store) = (sha256(&bytes), &world.store);
        store
            .put(&digest, "data", bytes.clone().into())
            .await
            .unwrap();
        assert_eq!(world.read(&digest, "data").await.unwrap(), bytes);
        for range in [0..700_000, 0..1, 699_999..700_000, 5..200_000, 7..7] {
            let (begin, end) = (range.start as usize, range.end as usize);
            let got = pulled(&world, &bytes, range).await.unwrap();
            assert_eq!(got, bytes[begin..end]);
        }
        let refused = store.put(&digest, "data", other.into()).await;
        assert!(matches!(refused, Err(Error::DigestMismatch { .. })));
        assert_eq!(world.read(&digest, "data").await.unwrap(), bytes);
        let small = store.read(&digest, "data", 100).await;
        assert!(matches!(small, Err(Error::TooLarge { .. })), "{small:?}");
    });
}

#[test]
fn nothing_is_a_content_too() {
    on_each(async |world| {
        let digest = sha256(b"");
        world
            .store
            .put(&digest, "data", Bytes::new())
            .await
            .unwrap();
        assert_eq!(world.read(&digest, "data").await.unwrap(), Bytes::new());
        assert_eq!(pulled(&world, b"", 0..0).await.unwrap(), b"");
    });
}

#[test]
fn what_is_missing_or_another_length_is_said_before_the_first_byte() {
    on_each(async |world| {
        let bytes = content(3, 1000);
        let missing = pulled(&world, &bytes, 0..1000).await;
        assert!(matches!(missing, Err(Error::NotFound)), "{missing:?}");
        let missing = world.read(&sha256(&bytes), "data").await;
        assert!(matches!(missing, Err(Error::NotFound)), "{missing:?}");
        let digest = sha256(&bytes);
        world
            .store
            .put(&digest, "data", bytes.into())
            .await
            .unwrap();
        let opened = world.store.open_blob(&digest, "data", 1001).await;
        let damaged = match opened {
            Ok(reader) => reader.start(0..1001, ReadMode::Copied).await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert!(matches!(damaged, Err(Error::Damaged(_))), "{damaged:?}");
    });
}

#[test]
fn a_list_shows_all_content_and_deletes_take_it_away() {
    on_each(async |world| {
        let mut put = Vec::new();
        for seed in 0..7 {
            let bytes = content(seed, 100 + seed as usize);
            let digest = sha256(&bytes);
            for location in ["data", "data.1"] {
                let bytes = bytes.clone().into();
                world.store.put(&digest, location, bytes).await.unwrap();
                put.push((digest, location.to_owned(), 100 + seed));
            }
        }
        let listed = world.list().await;
        let mut found: Vec<_> = listed
            .found
            .into_iter()
            .map(|found| (found.digest, found.location, found.size))
            .collect();
        let by = |item: &(oci::digest::Digest, String, u64)| (item.0.to_string(), item.1.clone());
        found.sort_by_key(by);
        put.sort_by_key(by);
        assert_eq!(found, put);
        assert_eq!((listed.strange.len(), listed.unreadable.len()), (0, 0));

        let mut gone: Vec<_> = put.iter().map(|item| (item.0, item.1.clone())).collect();
        // What is not there is deleted already, and what is no location harms no other.
        gone.push((sha256(b"never"), "data".to_owned()));
        gone.push((sha256(b"never"), "../data".to_owned()));
        let answers = world.store.delete(&gone).await;
        assert_eq!(answers.len(), gone.len());
        let (bad, good) = answers.split_last().unwrap();
        assert!(matches!(bad, Err(Error::Invalid(..))), "{bad:?}");
        for answer in good {
            assert!(answer.is_ok(), "{answer:?}");
        }
        assert!(world.list().await.found.is_empty());
    });
}

#[test]
fn a_check_tells_good_from_damaged_and_missing() {
    on_each(async |world| {
        let (bytes, cancel) = (content(4, 300_000), CancellationToken::new());
        let digest = sha256(&bytes);
        let verify = async || {
            let verdict = world.store.verify(&digest, "data", None, &cancel).await;
            verdict.unwrap()
        };
        assert_eq!(verify().await, Verdict::Missing);
        world
            .store
            .put(&digest, "data", bytes.into())
            .await
            .unwrap();
        assert_eq!(verify().await, Verdict::Good { size: 300_000 });
        cancel.cancel();
        let cancelled = world.store.verify(&digest, "data", None, &cancel).await;
        assert!(matches!(cancelled, Err(Error::Cancelled)), "{cancelled:?}");
    });
}

#[test]
fn a_store_is_one_databases() {
    on_each(async |world| {
        let store = world.another().await;
        assert_eq!(store.identity().await.unwrap().as_deref(), Some("ours"));
        assert!(!store.is_empty().await.unwrap() || store.bucket().is_none());
        store.adopt("ours").await.unwrap();
        let refused = store.adopt("theirs").await;
        assert!(matches!(refused, Err(Error::Foreign { .. })), "{refused:?}");
        store.probe("ours").await.unwrap();
        let foreign = store.probe("theirs").await;
        assert!(matches!(foreign, Err(Error::Foreign { .. })), "{foreign:?}");
    });
}

#[test]
fn a_signed_address_gives_the_content_and_no_other() {
    on_buckets(async |world| {
        let bytes = content(5, 50_000);
        let digest = sha256(&bytes);
        world
            .store
            .put(&digest, "data", bytes.clone().into())
            .await
            .unwrap();
        let reader = world
            .store
            .open_blob(&digest, "data", 50_000)
            .await
            .unwrap();
        let Some(url) = reader.signed().await.unwrap() else {
            // Nobody signs for what stands in for Google.
            assert!(world.store.bucket().unwrap().starts_with("gs://"));
            return;
        };
        let outbound =
            outbound::Outbound::new(outbound::Trust::new(&[]), outbound::Proxy::default());
        let client = outbound.client(outbound::Limits::QUESTION).await.unwrap();
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!(answer.bytes().await.unwrap(), bytes);
        let tampered = url.replace("/data?", "/data.1?");
        assert_ne!(tampered, url);
        let refused = client.get(&tampered).send().await.unwrap();
        assert!(refused.status().is_client_error(), "{}", refused.status());
    });
}
