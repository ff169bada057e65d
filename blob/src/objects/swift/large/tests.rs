//! Large objects on a real Swift, with manifests of few segments.

use futures_util::TryStreamExt;
use outbound::{Outbound, Proxy, Trust};

use super::*;
use crate::objects::config::{Config, Vendor, swift};

const KEY: &str = "p/objects/up/upload.0123456789abcdef";

fn on_swift(test: impl AsyncFn(Swift)) {
    let Some(server) = testkit::swift() else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let outbound = Outbound::new(Trust::new(&[]), Proxy::default());
        let config = Config {
            prefix: "p".to_owned(),
            swift: swift::Config {
                auth_url: Some(server.auth_url.clone()),
                user: Some(swift::Name::Name(server.user.clone())),
                password: Some(swift::Secret(server.key.clone())),
                ..swift::Config::default()
            },
            ..Config::new(Vendor::Swift, server.fresh_container().await, outbound)
        };
        let mut swift = Swift::open(&config).await.unwrap();
        swift.info.segments = 2;
        test(swift).await;
    });
}

async fn put_parts(swift: &Swift, id: &str, bytes: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    for (n, part) in bytes.chunks(10).enumerate() {
        let number = n as u32 + 1;
        let frames = vec![Bytes::copy_from_slice(part)];
        let tag = swift.put_part(KEY, id, number, frames).await.unwrap();
        let size = part.len() as u64;
        parts.push(Part { number, size, tag });
    }
    parts
}

async fn read(swift: &Swift, range: Option<std::ops::Range<u64>>) -> Vec<u8> {
    let opened = swift.open_object(KEY, range).await.unwrap();
    assert_eq!(opened.size, 55);
    let frames: Vec<Bytes> = opened.body.try_collect().await.unwrap();
    frames.concat()
}

async fn everything(swift: &Swift) -> Vec<String> {
    let page = swift.list("", None).await.unwrap();
    page.found.into_iter().map(|object| object.key).collect()
}

#[test]
fn more_parts_than_a_manifest_may_name_are_manifests_of_manifests() {
    on_swift(async |swift| {
        assert_eq!(swift.most_parts(), 18);
        let bytes: Vec<u8> = (0..55).collect();
        let id = swift.begin(KEY).await.unwrap();
        let begun = swift.begun("p/objects/up/upload.", None).await.unwrap();
        assert_eq!(
            (begun.found[0].key.as_str(), &begun.found[0].id),
            (KEY, &id)
        );
        let parts = put_parts(&swift, &id, &bytes).await;
        // Two too few fit into one manifest of manifests.
        swift.complete(KEY, &id, &parts[..4]).await.unwrap();
        assert_eq!(swift.head(KEY).await.unwrap(), 40);
        swift.delete_one(KEY).await.unwrap();
        let mut swift = swift;
        swift.info.segments = 3;
        swift.complete(KEY, &id, &parts).await.unwrap();
        assert_eq!(swift.head(KEY).await.unwrap(), 55);
        assert_eq!(read(&swift, None).await, bytes);
        assert_eq!(read(&swift, Some(25..41)).await, bytes[25..41]);
        let listed = swift.list("p/objects/", None).await.unwrap();
        assert_eq!(listed.found[0].size, 55);
        let begun = swift.begun("p/objects/", None).await.unwrap();
        assert!(begun.found.is_empty());
        for deleted in swift.delete(&[KEY.to_owned()]).await {
            deleted.unwrap();
        }
        assert!(everything(&swift).await.is_empty());
    });
}

/// Below digests lies what was stored with one call and, where contents came from another store, also what has segments.
#[test]
fn contents_below_digests_go_in_bulk_and_those_that_moved_here_with_their_segments() {
    on_swift(async |mut swift| {
        swift.info.segments = 1000;
        let key = |n: u8| {
            format!(
                "p/docker/registry/v2/blobs/sha256/{n:02x}/{n:02x}{:062x}/data",
                0
            )
        };
        for moves in [false, true] {
            let mut keys = Vec::new();
            for n in 0..6 {
                swift
                    .put(&key(n), vec![Bytes::from_static(b"x")])
                    .await
                    .unwrap();
                keys.push(key(n));
            }
            if moves {
                let id = swift.begin(&key(6)).await.unwrap();
                let frames = vec![Bytes::from_static(b"part")];
                let tag = swift.put_part(&key(6), &id, 1, frames).await.unwrap();
                let part = Part {
                    number: 1,
                    size: 4,
                    tag,
                };
                swift.complete(&key(6), &id, &[part]).await.unwrap();
                keys.insert(3, key(6));
            }
            for deleted in swift.delete(&keys).await {
                deleted.unwrap();
            }
            assert_eq!(everything(&swift).await, Vec::<String>::new(), "{moves}");
        }
    });
}

#[test]
fn what_has_become_an_object_is_not_replaced_and_not_given_up() {
    on_swift(async |mut swift| {
        swift.info.segments = 1000;
        let bytes: Vec<u8> = (0..55).collect();
        let id = swift.begin(KEY).await.unwrap();
        let mut parts = put_parts(&swift, &id, &bytes).await;
        swift.complete(KEY, &id, &parts).await.unwrap();
        // By another who comes late: with other bytes, and then without any upload.
        parts.reverse();
        let late = swift.complete(KEY, &id, &parts).await;
        assert!(matches!(late, Err(Error::NotFound)), "{late:?}");
        let late = swift.put_part(KEY, &id, 1, vec![Bytes::from_static(b"x")]);
        assert!(matches!(late.await, Err(Error::NotFound)));
        swift.abort(KEY, &id).await.unwrap();
        assert_eq!(read(&swift, None).await, bytes);
    });
}

#[test]
fn what_was_given_up_leaves_nothing_and_completes_no_more() {
    on_swift(async |mut swift| {
        swift.info.segments = 1000;
        let id = swift.begin(KEY).await.unwrap();
        let parts = put_parts(&swift, &id, &[7; 55]).await;
        swift.abort(KEY, &id).await.unwrap();
        swift.abort(KEY, &id).await.unwrap();
        assert!(everything(&swift).await.is_empty());
        let late = swift.complete(KEY, &id, &parts).await;
        assert!(matches!(late, Err(Error::NotFound)), "{late:?}");
        assert!(everything(&swift).await.is_empty());
    });
}
