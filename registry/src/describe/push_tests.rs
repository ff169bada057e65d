//! What a push finds out, as the rows tell it.

use oci::Digest;
use serde_json::json;

use crate::world::{World, digest_of, each};

const NAME: &str = "library/app";
const PNG: &[u8] = include_bytes!("../icons/chart.png");

type Row = [Option<String>; 5];

async fn row(world: &World<'_>, digest: &Digest) -> Row {
    let digest = digest.to_string();
    let mut reader = world.database.db.reader().await.unwrap();
    let sql =
        "SELECT kind, extra_attrs, icon, accessory, accessory_of FROM artifacts WHERE digest = $1";
    let values = [(&digest).into()];
    let row = reader.row(sql, &values, |row| {
        let mut found = Row::default();
        for (at, text) in found.iter_mut().enumerate() {
            *text = row.opt_text(at)?;
        }
        Ok(found)
    });
    row.await.unwrap().unwrap()
}

fn texts(row: &Row) -> [Option<&str>; 5] {
    [0, 1, 2, 3, 4].map(|at| row[at].as_deref())
}

async fn push(world: &World<'_>, tag: &str, body: serde_json::Value) -> Digest {
    world
        .push_manifest(NAME, tag, body.to_string().into())
        .await
}

fn part(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    json!({ "mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len() })
}

#[test]
fn a_push_describes_what_it_brings() {
    each(async |world| {
        let config = b"{\"name\":\"app\"}";
        world.push_blob(NAME, config).await;
        let chart = json!({ "schemaVersion": 2, "layers": [], "config": part("application/vnd.cncf.helm.config.v1+json", config) });
        let chart = push(world, "v1", chart).await;
        let expected = [Some("CHART"), Some("{\"name\":\"app\"}"), None, None, None];
        assert_eq!(texts(&row(world, &chart).await), expected);

        let signature = json!({ "schemaVersion": 2, "config": part("application/vnd.oci.image.config.v1+json", config),
            "layers": [part("application/vnd.dev.cosign.simplesigning.v1+json", config)] });
        let tag = format!("sha256-{}.sig", chart.hex());
        let signature = push(world, &tag, signature).await;
        let found = row(world, &signature).await;
        let of = chart.to_string();
        assert_eq!(texts(&found)[3..], [Some("signature.cosign"), Some(&*of)]);
    });
}

#[test]
fn an_icon_must_be_a_picture() {
    each(async |world| {
        for (tag, bytes, is_icon) in [("a", PNG, true), ("b", &b"<svg/>"[..], false)] {
            world.push_blob(NAME, bytes).await;
            world.push_blob(NAME, b"{}").await;
            let mut layer = part("image/png", bytes);
            layer["annotations"] = json!({ "io.goharbor.artifact.v1alpha1.icon": "" });
            let model = json!({ "schemaVersion": 2, "layers": [layer],
                "config": part("application/vnd.caicloud.model.config.v1alpha1+json", b"{}") });
            let model = push(world, tag, model).await;
            let icon = is_icon.then(|| digest_of(bytes).to_string());
            let found = row(world, &model).await;
            assert_eq!((texts(&found)[0], &found[2]), (Some("MODEL"), &icon));
        }
    });
}

#[test]
fn a_config_whose_bytes_are_lost_fails_no_push() {
    each(async |world| {
        let config = b"{\"os\":\"linux\"}";
        let digest = world.push_blob(NAME, config).await;
        std::fs::remove_file(world.file(&digest, "data")).unwrap();
        let image = json!({ "schemaVersion": 2, "layers": [], "config": part("application/vnd.oci.image.config.v1+json", config) });
        let image = push(world, "v1", image).await;
        assert_eq!(
            texts(&row(world, &image).await),
            [Some("IMAGE"), None, None, None, None]
        );
    });
}
