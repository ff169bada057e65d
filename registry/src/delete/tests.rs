use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use db::{artifacts, audit, cursors::Cursor, links, projects, quotas, repositories};
use model::{Error, actor::Actor};
use oci::{digest::Digest, name::RepoName};
use serde_json::json;

use crate::world::{World, digest_of, each};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A signature as cosign pushes it: known by its tag.
async fn sign(world: &World<'_>, repository: &str, signed: &Digest) -> Digest {
    let payload = format!("{{\"signs\":\"{signed}\"}}");
    world.push_blob(repository, payload.as_bytes()).await;
    world.push_blob(repository, b"{}").await;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest_of(b"{}").to_string(),
            "size": 2,
        },
        "layers": [{
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "digest": digest_of(payload.as_bytes()).to_string(),
            "size": payload.len(),
        }],
    });
    let tag = format!("sha256-{}.sig", signed.hex());
    let manifest: Bytes = manifest.to_string().into();
    world.push_manifest(repository, &tag, manifest).await
}

async fn index(world: &World<'_>, repository: &str, parts: &[(Digest, usize)]) -> Digest {
    let manifests: Vec<_> = parts
        .iter()
        .map(|(digest, size)| {
            json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest.to_string(),
                "size": size,
                "platform": { "architecture": "arm64", "os": "linux" },
            })
        })
        .collect();
    let manifest = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let manifest: Bytes = manifest.to_string().into();
    world.push_manifest(repository, "all", manifest).await
}

async fn is_there(world: &World<'_>, repository: &str, digest: &Digest) -> bool {
    let mut reader = world.database.db.reader().await.unwrap();
    let Some(known) = repositories::find(&mut reader, repository).await.unwrap() else {
        return false;
    };
    let found = artifacts::find(&mut reader, known.id, digest).await;
    found.unwrap().is_some()
}

#[test]
fn a_signature_goes_with_what_it_signs() {
    each(async |world| {
        let image = world.push_image("library/a", "v1", &[b"layer"]).await;
        let other = world.push_image("library/a", "v2", &[b"other"]).await;
        let signature = sign(world, "library/a", &image).await;
        world.delete_manifest("library/a", &image).await;
        assert!(!is_there(world, "library/a", &signature).await);
        assert!(is_there(world, "library/a", &other).await);
    });
}

#[test]
fn a_signature_that_claims_to_sign_itself_is_an_image() {
    each(async |world| {
        let first = sign(world, "library/a", &digest_of(b"nobody")).await;
        let mut reader = world.database.db.reader().await.unwrap();
        let sql = "SELECT accessory_of FROM artifacts ORDER BY id";
        let of = async |reader: &mut db::Conn| {
            reader
                .row(sql, &[], |row| row.opt_text(0))
                .await
                .unwrap()
                .flatten()
        };
        assert_eq!(
            of(&mut reader).await,
            Some(digest_of(b"nobody").to_string())
        );
        drop(reader);
        world.delete_manifest("library/a", &first).await;
        assert!(!is_there(world, "library/a", &first).await);
    });
}

#[test]
fn an_index_goes_with_its_parts() {
    each(async |world| {
        let part = world.push_image("library/a", "part", &[b"layer"]).await;
        let kept = world.push_image("library/a", "kept", &[b"other"]).await;
        let size = world.row(&part).await.unwrap().size as usize;
        let other = world.row(&kept).await.unwrap().size as usize;
        let index = index(world, "library/a", &[(part, size), (kept, other)]).await;
        let name: RepoName = "library/a".parse().unwrap();
        world
            .registry
            .delete_tag(&name, &"part".parse().unwrap())
            .await
            .unwrap();
        let refused = world.registry.delete_manifest(&name, &part).await;
        assert!(
            matches!(refused, Err(Error::Precondition(_))),
            "{refused:?}"
        );
        world.delete_manifest("library/a", &index).await;
        assert!(!is_there(world, "library/a", &part).await);
        assert!(is_there(world, "library/a", &kept).await);
    });
}

#[test]
fn a_repository_goes_with_its_bytes_and_then_its_project() {
    each(async |world| {
        let image = world.push_image("library/a", "v1", &[b"layer"]).await;
        sign(world, "library/a", &image).await;
        world.push_blob("library/a", b"fresh").await;
        let name: RepoName = "library/a".parse().unwrap();
        let by_alice = world.registry.by(Arc::new(Actor::new("alice", None)));
        by_alice.delete_repository(&name).await.unwrap();
        assert!(!world.serves("library/a", &digest_of(b"layer")).await);
        let again = world.registry.delete_repository(&name).await;
        assert!(matches!(again, Err(Error::NotFound(..))), "{again:?}");
        world.collect().await;
        world.advance(Duration::from_hours(2));
        world.collect().await;
        assert_eq!(world.stored().await, 0);
        let mut reader = world.database.db.reader().await.unwrap();
        let library = projects::get_name(&mut reader, "library").await.unwrap();
        assert_eq!(quotas::usage(&mut reader, library.id).await.unwrap(), 0);
        assert!(
            links::holders(&mut reader, &digest_of(b"layer"), 10)
                .await
                .unwrap()
                .is_empty()
        );
        drop(reader);
        let db = &world.database.db;
        db.write(move |tx| {
            let library = library.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                projects::delete(tx, &library, now).await
            })
        })
        .await
        .unwrap();
        if db.is_exclusive() {
            let mut reader = db.reader().await.unwrap();
            let told = audit::after(&mut reader, Cursor::default(), 1000)
                .await
                .unwrap();
            let gone = told
                .iter()
                .find(|row| row.event == "delete_repository")
                .unwrap();
            assert_eq!(
                (gone.actor.as_str(), gone.resource.as_str()),
                ("alice", "library/a")
            );
        }
        // The name is free.
        let report = world.fsck(true, false).await;
        assert!(report.is_clean(), "{:?}", report.findings);
    });
}
