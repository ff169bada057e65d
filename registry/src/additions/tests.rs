use std::io::{Cursor, Write};

use flate2::{Compression, write::GzEncoder};
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::*;
use crate::world::{World, digest_of, each};

const CHART: &str = "application/vnd.cncf.helm.config.v1+json";
const CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
const IMAGE: &str = "application/vnd.oci.image.config.v1+json";
const NAME: &str = "library/app";

/// A layer of this type, with the path that a model's file has.
struct Layer<'a>(&'a str, Vec<u8>, Option<&'a str>);

async fn push(
    world: &World<'_>,
    config: (&str, &[u8]),
    layers: Vec<Layer<'_>>,
    more: Value,
) -> Vec<u8> {
    world.push_blob(NAME, config.1).await;
    let mut listed = Vec::new();
    for Layer(media_type, bytes, path) in layers {
        let mut layer = json!({ "mediaType": media_type, "digest": world.push_blob(NAME, &bytes).await, "size": bytes.len() });
        if let Some(path) = path {
            layer["annotations"] = json!({ "org.cncf.model.filepath": path });
        }
        listed.push(layer);
    }
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": listed,
        "config": { "mediaType": config.0, "digest": digest_of(config.1), "size": config.1.len() },
    });
    for (name, value) in more.as_object().unwrap() {
        manifest[name] = value.clone();
    }
    let bytes = manifest.to_string().into_bytes();
    world.push_manifest(NAME, "v1", bytes.clone().into()).await;
    bytes
}

async fn read(world: &World<'_>, manifest: &[u8], addition: Addition) -> Result<Content> {
    let name: oci::RepoName = NAME.parse().unwrap();
    let repository = world
        .registry
        .find_repository(name.borrowed())
        .await
        .unwrap();
    let shown = world
        .registry
        .addition(repository.unwrap(), manifest, addition);
    match shown.await? {
        Shown::Read(content) => Ok(content),
        Shown::Stored {
            content_type,
            reader,
            size,
        } => {
            let pieces = reader.stream(0..size, blob::ReadMode::Copied);
            let pieces: Vec<_> = pieces.try_collect().await.unwrap();
            Ok(Content {
                content_type,
                bytes: pieces.concat().into(),
            })
        }
    }
}

async fn text(world: &World<'_>, manifest: &[u8], addition: Addition) -> String {
    let content = read(world, manifest, addition).await.unwrap();
    String::from_utf8(content.bytes.to_vec()).unwrap()
}

async fn json_of(world: &World<'_>, manifest: &[u8], addition: Addition) -> Value {
    serde_json::from_str(&text(world, manifest, addition).await).unwrap()
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

async fn push_chart(world: &World<'_>, packed: Vec<u8>) -> Vec<u8> {
    let layers = vec![
        Layer(
            "application/vnd.cncf.helm.chart.provenance.v1.prov",
            b"signed".to_vec(),
            None,
        ),
        Layer(CHART_LAYER, packed, None),
    ];
    push(world, (CHART, b"{\"name\":\"app\"}"), layers, json!({})).await
}

#[test]
fn a_name_is_known_in_any_case() {
    for addition in Addition::ALL {
        let name = addition.as_str();
        assert_eq!(Addition::parse(name), Some(addition));
        assert_eq!(Addition::parse(&name.to_uppercase()), Some(addition));
    }
    assert_eq!(Addition::parse("vulnerabilities"), None);
}

#[test]
fn an_image_brings_its_history() {
    each(async |world| {
        let config = r#"{"os":"linux","history":[
            {"created":"2026-01-02T03:04:05Z","created_by":"RUN x","empty_layer":true,"other":1},{"comment":"c"},7]}"#;
        let image = push(world, (IMAGE, config.as_bytes()), Vec::new(), json!({})).await;
        assert_eq!(
            json_of(world, &image, Addition::BuildHistory).await,
            json!([{ "created": "2026-01-02T03:04:05Z", "created_by": "RUN x", "empty_layer": true }, { "comment": "c" }])
        );
        let silent = push(world, (IMAGE, b"no json"), Vec::new(), json!({})).await;
        assert_eq!(text(world, &silent, Addition::BuildHistory).await, "[]");
    });
}

#[test]
fn what_a_kind_has_not_is_refused() {
    each(async |world| {
        let image = push(world, (IMAGE, b"{}"), Vec::new(), json!({})).await;
        for addition in [
            Addition::Values,
            Addition::Dependencies,
            Addition::Files,
            Addition::Sbom,
        ] {
            let refused = read(world, &image, addition).await.unwrap_err();
            assert!(
                matches!(refused, Error::Invalid(..)),
                "{addition:?}: {refused}"
            );
        }
        let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [] });
        let index = index.to_string().into_bytes();
        let refused = read(world, &index, Addition::BuildHistory)
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::Invalid(..)), "{refused}");
    });
}

#[test]
fn a_chart_brings_its_files() {
    each(async |world| {
        let chart = push_chart(world, gzip(&tar(&[
            ("app/Chart.yaml", b"apiVersion: v2\nname: app\ndependencies:\n- name: db\n  version: 1.x\n  repository: oci://r\n  condition: db.on\n  import-values: [a, {child: b, parent: c}]\n"),
            ("app/charts/db/values.yaml", b"not: this"),
            ("app/charts/db/README.md", b"nor this"),
            ("app/Values.yaml", b"replicas: 2\n"),
            ("app/requirements.yaml", b"dependencies: [{name: old}]"),
            ("app/ReadMe.md", b"# app"),
        ]))).await;
        let values = read(world, &chart, Addition::Values).await.unwrap();
        assert_eq!(
            (values.content_type, &*values.bytes),
            (TEXT, &b"replicas: 2\n"[..])
        );
        let readme = read(world, &chart, Addition::Readme).await.unwrap();
        assert_eq!(
            (readme.content_type, &*readme.bytes),
            (MARKDOWN, &b"# app"[..])
        );
        assert_eq!(
            json_of(world, &chart, Addition::Dependencies).await,
            json!([{ "name": "db", "version": "1.x", "repository": "oci://r", "condition": "db.on",
                     "import-values": ["a", { "child": "b", "parent": "c" }] }])
        );
    });
}

#[test]
fn a_chart_of_helm_2_has_its_dependencies_elsewhere() {
    each(async |world| {
        let chart = push_chart(world, gzip(&tar(&[
            ("app/Chart.yaml", b"apiVersion: v1\nname: app\n"),
            ("app/requirements.yaml", b"dependencies:\n- {name: db, version: '1', repository: 'https://r', tags: [x], enabled: true, alias: a}\n"),
        ]))).await;
        assert_eq!(
            json_of(world, &chart, Addition::Dependencies).await,
            json!([{ "name": "db", "version": "1", "repository": "https://r", "tags": ["x"], "enabled": true, "alias": "a" }])
        );
        let bare = push_chart(
            world,
            gzip(&tar(&[("app/Chart.yaml", b"apiVersion: v1\n")])),
        )
        .await;
        for (addition, expected) in [
            (Addition::Dependencies, "[]"),
            (Addition::Values, ""),
            (Addition::Readme, ""),
        ] {
            assert_eq!(text(world, &bare, addition).await, expected);
        }
    });
}

#[test]
fn a_chart_that_is_none_is_the_clients_mistake() {
    each(async |world| {
        let bomb = (1..60).map(|n| format!("a{n}: &a{n} [*a{p},*a{p},*a{p},*a{p}]\n", p = n - 1));
        let bomb = format!(
            "a0: &a0 [x]\n{}dependencies: *a59\n",
            bomb.collect::<Vec<_>>().concat()
        );
        for packed in [
            b"no archive".to_vec(),
            Vec::new(),
            gzip(b"no tar, but long enough for a header").repeat(40),
            gzip(&tar(&[("app/Chart.yaml", bomb.as_bytes())])),
            gzip(&tar(&[("app/Chart.yaml", b"- [\x00")])),
            gzip(&tar(&[("app/Chart.yaml", &vec![b'['; 100_000])])),
        ] {
            let chart = push_chart(world, packed).await;
            let refused = read(world, &chart, Addition::Dependencies).await;
            assert!(matches!(refused, Err(Error::Invalid(..))), "{refused:?}");
        }
        let cut = gzip(&tar(&[("app/values.yaml", &[b'x'; 5000])]));
        let chart = push_chart(world, cut[..cut.len() / 2].to_vec()).await;
        let refused = read(world, &chart, Addition::Values).await;
        assert!(matches!(refused, Err(Error::Invalid(..))), "{refused:?}");
    });
}

#[test]
fn a_file_that_is_too_large_to_show_is_said_to_be() {
    each(async |world| {
        let chart = push_chart(
            world,
            gzip(&tar(&[("app/values.yaml", &vec![0; (5 << 20) + 1])])),
        )
        .await;
        let refused = read(world, &chart, Addition::Values).await;
        assert!(matches!(refused, Err(Error::TooLarge(_))), "{refused:?}");
    });
}

#[test]
fn an_archive_is_walked_within_bounds() {
    let walk = |bytes: &[u8], most| {
        let mut seen = Vec::new();
        let walked = archive::walk(bytes, most, |path, _| {
            seen.push(String::from_utf8_lossy(path).into_owned());
            Ok(archive::Next::More)
        });
        (walked, seen)
    };
    let zeros = tar(&[("a/zeros", &vec![0; 1 << 20]), ("a/late", b"x")]);
    let (walked, _) = walk(&zeros, 1 << 20);
    assert!(matches!(walked, Err(Error::TooLarge(_))), "{walked:?}");
    assert_eq!(walk(&zeros, 2 << 20).1, ["a/zeros", "a/late"]);

    let many: Vec<_> = (0..10_050).map(|n| format!("a/{n}")).collect();
    let many: Vec<_> = many.iter().map(|path| (&**path, &b""[..])).collect();
    let (walked, seen) = walk(&tar(&many), 100 << 20);
    assert!(walked.is_ok());
    assert_eq!(seen.len(), 10_000);

    // A name of a megabyte, a link out of the archive, a device, a size that is a lie.
    let mut archive = Builder::new(Vec::new());
    for (kind, size) in [
        (EntryType::GNULongName, 1 << 20),
        (EntryType::XHeader, 1 << 20),
        (EntryType::Symlink, 0),
        (EntryType::Char, 0),
    ] {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path("a/values.yaml").unwrap();
        header.set_size(size as u64);
        header.set_cksum();
        archive.append(&header, &*vec![b'n'; size]).unwrap();
    }
    let mut header = Header::new_gnu();
    header.set_path("a/lie").unwrap();
    header.set_size(u64::from(u32::MAX));
    header.set_cksum();
    let mut bytes = archive.into_inner().unwrap();
    bytes.truncate(bytes.len() - 1024);
    bytes.extend_from_slice(header.as_bytes());
    let (_, seen) = walk(&bytes, 100 << 20);
    assert_eq!(seen, ["a/lie"]);
}

#[test]
fn a_store_that_fails_is_not_the_archives_fault() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(archive::from_store(std::io::Error::other("disk")))
        }
    }
    let whole = gzip(&tar(&[("a/b", &[7; 4000])]));
    let cut = std::io::Read::chain(Cursor::new(whole[..whole.len() / 2].to_vec()), Broken);
    let failed = chart::values(cut);
    assert!(matches!(failed, Err(Error::Unavailable(_))), "{failed:?}");
}

#[test]
fn a_model_brings_its_texts_and_a_list_of_its_files() {
    each(async |world| {
        let raw = "application/vnd.cncf.model.doc.v1.raw";
        let weights = "application/vnd.cncf.model.weight.v1.raw";
        let layers = vec![
            Layer(
                weights,
                b"README.md of weights".to_vec(),
                Some("README.md/"),
            ),
            Layer(raw, b"# model".to_vec(), Some("README.md")),
            Layer(
                "application/vnd.cncf.model.doc.v1.tar",
                tar(&[("LICENSE", b"MIT")]),
                Some("LICENSE"),
            ),
            Layer(weights, b"12345".to_vec(), Some("weights/./a/x.bin")),
            Layer(weights, b"1234".to_vec(), Some("weights/y.bin")),
            Layer(weights, b"123".to_vec(), Some("../../etc/passwd")),
        ];
        let kind = json!({ "artifactType": "application/vnd.cncf.model.manifest.v1+json" });
        let config = ("application/vnd.cncf.model.config.v1+json", &b"{}"[..]);
        let model = push(world, config, layers, kind.clone()).await;
        let readme = read(world, &model, Addition::Readme).await.unwrap();
        assert_eq!(
            (readme.content_type, &*readme.bytes),
            (MARKDOWN, &b"# model"[..])
        );
        assert_eq!(text(world, &model, Addition::License).await, "MIT");
        assert_eq!(
            json_of(world, &model, Addition::Files).await,
            json!([
                { "name": "README.md", "type": "directory" },
                { "name": "weights", "type": "directory", "children": [
                    { "name": "a", "type": "directory", "children": [{ "name": "x.bin", "type": "file", "size": 5 }] },
                    { "name": "y.bin", "type": "file", "size": 4 },
                ] },
                { "name": "LICENSE", "type": "file", "size": 2048 },
            ])
        );
        let bare = push(world, config, Vec::new(), kind).await;
        assert_eq!(text(world, &bare, Addition::Files).await, "[]");
        let missing = read(world, &bare, Addition::License).await;
        assert!(matches!(missing, Err(Error::NotFound(..))), "{missing:?}");
    });
}

#[test]
fn a_list_of_files_has_bounds() {
    let layer = |path: String| json!({ "mediaType": "a/b", "digest": digest_of(b""), "size": 1, "annotations": { "org.cncf.model.filepath": path } });
    let manifest = |layers: Vec<Value>| {
        let body = json!({ "schemaVersion": 2, "artifactType": "a/b", "layers": layers,
            "config": { "mediaType": "a/b", "digest": digest_of(b""), "size": 0 } });
        Manifest::parse(body.to_string().as_bytes(), None).unwrap()
    };
    let deep = manifest(vec![layer("a/".repeat(100_000)), layer("b".to_owned())]);
    assert_eq!(
        model::files(&deep).unwrap(),
        br#"[{"name":"b","type":"file","size":1}]"#
    );
    let many = manifest((0..10_001).map(|n| layer(n.to_string())).collect());
    assert!(matches!(model::files(&many), Err(Error::TooLarge(_))));
}

#[test]
fn an_sbom_is_its_only_layer() {
    each(async |world| {
        let kind = json!({ "artifactType": SBOM });
        let config = ("application/vnd.oci.empty.v1+json", &b"{}"[..]);
        let layers = vec![Layer("a/b", b"{\"spdx\":1}".to_vec(), None)];
        let sbom = push(world, config, layers, kind.clone()).await;
        let content = read(world, &sbom, Addition::Sbom).await.unwrap();
        assert_eq!(
            (content.content_type, &*content.bytes),
            (SBOM, &b"{\"spdx\":1}"[..])
        );
        let none = push(world, config, Vec::new(), kind).await;
        let missing = read(world, &none, Addition::Sbom).await;
        assert!(matches!(missing, Err(Error::NotFound(..))), "{missing:?}");
    });
}

#[test]
fn only_what_the_repository_holds_is_read() {
    each(async |world| {
        let secret = gzip(&tar(&[("app/values.yaml", b"secret")]));
        world.push_blob("library/other", &secret).await;
        // As a rebuild may leave one: its contents are not in this repository.
        let chart = json!({ "schemaVersion": 2, "config": { "mediaType": CHART, "digest": digest_of(b"{}"), "size": 2 },
            "layers": [{ "mediaType": CHART_LAYER, "digest": digest_of(&secret), "size": secret.len() }] });
        world.push_blob(NAME, b"{}").await;
        let refused = read(world, chart.to_string().as_bytes(), Addition::Values).await;
        assert!(matches!(refused, Err(Error::NotFound(..))), "{refused:?}");
    });
}
