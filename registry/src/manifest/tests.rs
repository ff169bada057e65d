use std::{collections::BTreeSet, fs, time::Duration};

use bytes::Bytes;
use db::blobs;
use model::Error;
use oci::{digest::Digest, name::RepoName};
use serde_json::json;

use crate::world::{World, digest_of, each};

const DAY: Duration = Duration::from_hours(24);
const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// An image whose only layer need not be pushed.
fn with_foreign_layer(config: &[u8], layer: &[u8]) -> Bytes {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest_of(config).to_string(),
            "size": config.len(),
        },
        "layers": [{
            "mediaType": FOREIGN,
            "digest": digest_of(layer).to_string(),
            "size": layer.len(),
        }],
    });
    manifest.to_string().into()
}

async fn delete_blob(world: &World<'_>, digest: &Digest) -> model::Result<()> {
    let name: RepoName = "library/a".parse().unwrap();
    world.registry.delete_blob(&name, digest).await
}

#[test]
fn a_foreign_layer_may_be_missing_and_is_kept_once_it_is_there() {
    each(async |world| {
        world.push_blob("library/a", b"{}").await;
        let manifest = with_foreign_layer(b"{}", b"windows");
        world
            .push_manifest("library/a", "v1", manifest.clone())
            .await;
        // It comes later, with the same manifest again.
        let layer = world.push_blob("library/a", b"windows").await;
        world.push_manifest("library/a", "v1", manifest).await;
        let refused = delete_blob(world, &layer).await;
        assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
        world.advance(2 * DAY);
        world.collect().await;
        assert!(world.serves("library/a", &layer).await);
    });
}

#[test]
fn a_manifest_whose_file_has_gone_is_stored_again_although_its_bytes_are_remembered() {
    each(async |world| {
        let manifest = world.push_image("library/a", "v1", &[b"layer"]).await;
        assert!(
            world
                .serves_manifest(&world.registry, "library/a", "v1")
                .await
        );
        fs::remove_file(world.file(&manifest, "data")).unwrap();
        world.push_image("library/a", "v1", &[b"layer"]).await;
        let restarted = world.restart().await;
        assert!(world.serves_manifest(&restarted, "library/a", "v1").await);
    });
}

#[test]
fn a_push_corrects_a_row_with_a_wrong_length() {
    each(async |world| {
        let layer = world.push_blob("library/a", b"layer").await;
        let id = world.row(&layer).await.unwrap().id;
        let db = &world.database.db;
        db.write(move |tx| Box::pin(async move { blobs::set_size(tx, id, 3).await }))
            .await
            .unwrap();
        world.push_blob("library/a", b"layer").await;
        assert_eq!(world.row(&layer).await.unwrap().size, 5);
    });
}

#[test]
fn each_tag_that_goes_with_its_manifest_is_written_down() {
    each(async |world| {
        let manifest = world.push_image("library/a", "v1", &[b"layer"]).await;
        let row = world.file(&manifest, "data");
        let bytes: Bytes = fs::read(row).unwrap().into();
        for number in 0..1200 {
            world
                .push_manifest("library/a", &format!("t{number}"), bytes.clone())
                .await;
        }
        world.delete_manifest("library/a", &manifest).await;
        let reader = &mut *world.database.db.reader().await.unwrap();
        let changes = db::changes::list(reader, None, 5000).await.unwrap();
        let gone: BTreeSet<_> = changes
            .iter()
            .filter(|change| change.kind == "tag.deleted")
            .map(|change| &change.key)
            .collect();
        assert_eq!(gone.len(), 1201);
        assert!(gone.contains(&"library/a:t1199".to_owned()));
        assert!(
            !world
                .serves_manifest(&world.registry, "library/a", "v1")
                .await
        );
    });
}
