//! What a Docker registry wrote of its repositories is found in a directory and in a bucket alike.

use std::{collections::BTreeSet, os::unix::fs::symlink};

use blob::{
    Config, Store,
    tree::{HeldBatch, What},
};
use oci::digest::Digest;

use super::{bucket, sha256};

const REPOSITORIES: &str = "docker/registry/v2/repositories";

/// A store that nobody has adopted, and a way to write into it beside it.
struct Old {
    store: Store,
    kind: Kind,
}

enum Kind {
    Directory(tempfile::TempDir),
    Bucket { s3: testkit::S3, bucket: String },
}

impl Old {
    async fn write(&self, path: &str, text: &str) {
        match &self.kind {
            Kind::Directory(dir) => {
                let file = dir.path().join(path);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, text).unwrap();
            }
            Kind::Bucket { s3, bucket } => {
                let key = format!("some/prefix/{path}");
                let text = Box::leak(text.to_owned().into_boxed_str());
                s3.put(bucket, &key, text.as_bytes()).await;
            }
        }
    }

    async fn link(&self, repository: &str, path: &str, digest: &Digest) {
        let path = format!("{REPOSITORIES}/{repository}/{path}/link");
        self.write(&path, &digest.to_string()).await;
    }

    async fn all(&self) -> HeldBatch {
        let (mut all, mut walk) = (HeldBatch::default(), self.store.tree());
        while let Some(batch) = walk.next().await.unwrap() {
            all.held.extend(batch.held);
            all.strange.extend(batch.strange);
            all.unreadable.extend(batch.unreadable);
        }
        all
    }
}

fn on_each(test: impl AsyncFn(Old)) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        eprintln!("in a directory");
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Config::new(dir.path())).await.unwrap();
        let kind = Kind::Directory(dir);
        test(Old { store, kind }).await;
        if let Some(s3) = testkit::s3() {
            eprintln!("in an S3 bucket");
            let config = bucket(&s3).await;
            let kind = Kind::Bucket {
                s3,
                bucket: config.bucket.clone(),
            };
            let store = Store::open(config).await.unwrap();
            test(Old { store, kind }).await;
        }
    });
}

#[test]
fn repositories_are_found_with_what_each_holds_in_a_row() {
    on_each(async |old| {
        assert!(!old.store.holds_tree().await.unwrap());
        assert!(old.all().await.held.is_empty());
        let (layer, manifest) = (sha256(b"layer"), sha256(b"manifest"));
        let blob = format!(
            "docker/registry/v2/blobs/sha256/{}/{}/data",
            &layer.hex()[..2],
            layer.hex()
        );
        old.write(&blob, "layer").await;
        // A name that goes on, and one that comes before an underscore.
        let names = ["team/app", "team/app/deep", "team/app/0", "debian"];
        for name in names {
            old.link(name, &format!("_layers/sha256/{}", layer.hex()), &layer)
                .await;
            let revision = format!("_manifests/revisions/sha256/{}", manifest.hex());
            old.link(name, &revision, &manifest).await;
            for tag in ["v1", "v2"] {
                old.link(name, &format!("_manifests/tags/{tag}/current"), &manifest)
                    .await;
                let before = format!("_manifests/tags/{tag}/index/sha256/{}", layer.hex());
                old.link(name, &before, &layer).await;
            }
            old.write(&format!("{REPOSITORIES}/{name}/_uploads/1-2/data"), "half")
                .await;
            old.write(
                &format!("{REPOSITORIES}/{name}/_uploads/1-2/startedat"),
                "then",
            )
            .await;
        }
        old.write(
            &format!("{REPOSITORIES}/team/app/_layers/sha256/short/link"),
            "x",
        )
        .await;

        assert!(old.store.holds_tree().await.unwrap());
        let all = old.all().await;
        assert_eq!(all.strange.len(), 1, "{:?}", all.strange);
        assert!(all.unreadable.is_empty());
        let mut order: Vec<&str> = all
            .held
            .iter()
            .map(|held| held.repository.as_str())
            .collect();
        order.dedup();
        assert_eq!(order.len(), names.len(), "each in a row: {order:?}");
        assert_eq!(BTreeSet::from_iter(order), BTreeSet::from(names));
        for name in names {
            let own = all.held.iter().filter(|held| held.repository == name);
            let mut whats: Vec<What> = own.map(|held| held.what.clone()).collect();
            // Tags come in any order.
            whats[2..4].sort_by_key(|what| format!("{what:?}"));
            let tag = |name: &str| What::Tag(name.to_owned());
            let upload = What::Upload { bytes: 4 };
            let wanted = [
                What::Layer(layer),
                What::Manifest(manifest),
                tag("v1"),
                tag("v2"),
                upload,
            ];
            assert_eq!(whats, wanted, "{name}");
            let read = old.store.tag_in_tree(name, "v2").await.unwrap();
            assert_eq!(read, Some(manifest));
        }
    });
}

#[test]
fn a_tag_without_a_digest_stands_for_nothing() {
    on_each(async |old| {
        let tags = format!("{REPOSITORIES}/app/_manifests/tags");
        old.write(&format!("{tags}/bad/current/link"), "no digest")
            .await;
        old.write(&format!("{tags}/long/current/link"), &"x".repeat(5000))
            .await;
        for (repository, tag) in [
            ("app", "bad"),
            ("app", "long"),
            ("app", "none"),
            ("../app", "bad"),
            ("app", "../bad"),
        ] {
            let read = old.store.tag_in_tree(repository, tag).await.unwrap();
            assert_eq!(read, None, "{repository}:{tag}");
        }
    });
}

#[test]
fn what_the_disk_does_not_show_is_told() {
    on_each(async |old| {
        if !matches!(old.kind, Kind::Directory(_)) {
            return;
        }
        old.write(
            &format!("{REPOSITORIES}/app/_layers"),
            "a file where a directory should be",
        )
        .await;
        let Kind::Directory(dir) = &old.kind else {
            unreachable!("asked above")
        };
        // It goes round in circles, for root too.
        let circle = format!("{REPOSITORIES}/app/_manifests");
        symlink("_manifests", dir.path().join(&circle)).unwrap();
        let all = old.all().await;
        assert!(all.held.is_empty(), "{all:?}");
        assert_eq!(all.strange, [format!("{REPOSITORIES}/app/_layers")]);
        assert!(!all.unreadable.is_empty(), "{all:?}");
        assert!(
            all.unreadable.iter().all(|told| told.starts_with(&circle)),
            "{all:?}"
        );
    });
}
