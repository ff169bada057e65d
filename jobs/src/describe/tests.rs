use db::repositories;
use model::job::Job;
use oci::{Digest, RepoName};
use registry::{manifest::NewManifest, push::Target};
use serde_json::{Value, json};
use tokio_util::bytes::Bytes;

use crate::{
    Outcome,
    world::{World, each},
};

const NAME: &str = "library/app";

fn digest_of(bytes: &[u8]) -> Digest {
    blob::digest_of(oci::Algorithm::Sha256, bytes)
}

async fn target(world: &World<'_>) -> Target {
    Target {
        project: world.library().await,
        name: NAME.parse().unwrap(),
    }
}

/// Pushes an artifact of this config, and takes away what the push has found out of it.
async fn push(world: &World<'_>, target: &Target, config: (&str, &[u8]), more: Value) -> Digest {
    let digest = digest_of(config.1);
    let body = futures_util::stream::iter([Ok(Bytes::copy_from_slice(config.1))]);
    world
        .registry
        .push_blob(target, &digest, body)
        .await
        .unwrap();
    let mut manifest = json!({
        "schemaVersion": 2, "layers": [],
        "config": { "mediaType": config.0, "digest": digest, "size": config.1.len() },
    });
    for (name, value) in more.as_object().unwrap() {
        manifest[name] = value.clone();
    }
    let new = NewManifest {
        bytes: manifest.to_string().into(),
        content_type: None,
        reference: oci::Reference::Tag("v1".parse().unwrap()),
        tags: Vec::new(),
    };
    let pushed = world.registry.push_manifest(target, new).await.unwrap();
    world
        .write(|tx| {
            Box::pin(async move {
                tx.execute("UPDATE artifacts SET kind = NULL, extra_attrs = NULL", &[])
                    .await
            })
        })
        .await;
    pushed.digest
}

async fn kind(world: &World<'_>, digest: &Digest) -> (Option<String>, Option<String>) {
    let digest = digest.to_string();
    let mut reader = world.database.db.reader().await.unwrap();
    let sql = "SELECT kind, extra_attrs FROM artifacts WHERE digest = $1";
    let values = [(&digest).into()];
    let row = reader.row(sql, &values, |row| Ok((row.opt_text(0)?, row.opt_text(1)?)));
    row.await.unwrap().unwrap()
}

#[test]
fn what_no_push_has_described_is_described() {
    each(async |world| {
        let target = target(world).await;
        let chart = (
            "application/vnd.cncf.helm.config.v1+json",
            &b"{\"name\":\"app\"}"[..],
        );
        let chart = push(world, &target, chart, json!({})).await;
        let broken = ("application/vnd.oci.image.config.v1+json", &b"no json"[..]);
        let broken = push(world, &target, broken, json!({})).await;
        let (_, outcome) = world.run(Job::Describe {}).await;
        assert_eq!(
            outcome.unwrap(),
            Outcome::Done("2 artifacts described".to_owned())
        );
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            kind(world, &chart).await,
            (text("CHART"), text("{\"name\":\"app\"}"))
        );
        assert_eq!(kind(world, &broken).await, (text("IMAGE"), None));
        let (_, again) = world.run(Job::Describe {}).await;
        assert_eq!(
            again.unwrap(),
            Outcome::Done("0 artifacts described".to_owned())
        );
    });
}

#[test]
fn one_whose_bytes_are_lost_holds_nobody_up() {
    each(async |world| {
        let target = target(world).await;
        let image = "application/vnd.oci.image.config.v1+json";
        let lost = push(world, &target, (image, b"{\"os\":\"a\"}"), json!({})).await;
        let kept = push(world, &target, (image, b"{\"os\":\"b\"}"), json!({})).await;
        let hex = lost.hex();
        let path = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        std::fs::remove_file(world.root.join(path)).unwrap();
        let (_, outcome) = world.run(Job::Describe {}).await;
        assert_eq!(
            outcome.unwrap(),
            Outcome::Done("1 artifacts described".to_owned())
        );
        assert_eq!(kind(world, &lost).await, (None, None));
        assert_eq!(kind(world, &kept).await.0.as_deref(), Some("IMAGE"));
    });
}

#[test]
fn a_cnab_tells_what_its_config_manifest_has() {
    each(async |world| {
        let target = target(world).await;
        let config = (
            "application/vnd.cnab.config.v1+json",
            &b"{\"name\":\"bundle\"}"[..],
        );
        let child = push(world, &target, config, json!({})).await;
        let name: RepoName = NAME.parse().unwrap();
        assert!(
            repositories::find(
                &mut world.database.db.reader().await.unwrap(),
                name.as_str()
            )
            .await
            .unwrap()
            .is_some()
        );
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "annotations": { "org.opencontainers.artifactType": "application/vnd.cnab.manifest.v1" },
            "manifests": [{ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": child, "size": 1,
                "annotations": { "io.cnab.manifest.type": "config" } }],
        });
        let bytes = Bytes::from(manifest.to_string());
        let digest = digest_of(&bytes);
        let new = NewManifest {
            bytes,
            content_type: None,
            reference: oci::Reference::Tag("bundle".parse().unwrap()),
            tags: Vec::new(),
        };
        world.registry.push_manifest(&target, new).await.unwrap();
        world.run(Job::Describe {}).await.1.unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            kind(world, &digest).await,
            (text("CNAB"), text("{\"name\":\"bundle\"}"))
        );
    });
}
