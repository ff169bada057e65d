use serde_json::{Value, json};

use super::*;
use crate::media_type::{
    DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, OCI_CONFIG,
    OCI_EMPTY,
};

fn digest(fill: u8) -> Digest {
    Digest::sha256([fill; 32])
}

fn descriptor(media_type: &str, fill: u8) -> Value {
    json!({"mediaType": media_type, "digest": digest(fill), "size": 7})
}

fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, 1),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", 2)],
    })
}

fn index() -> Value {
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(OCI_MANIFEST, 3)]})
}

/// The manifest with one field changed; `path` is a JSON pointer's parent and a key.
fn with(mut manifest: Value, parent: &str, key: &str, value: Value) -> Value {
    manifest.pointer_mut(parent).unwrap()[key] = value;
    manifest
}

fn without(mut manifest: Value, parent: &str, key: &str) -> Value {
    manifest
        .pointer_mut(parent)
        .unwrap()
        .as_object_mut()
        .unwrap()
        .remove(key)
        .unwrap();
    manifest
}

fn parse(manifest: &Value) -> Result<Manifest, ManifestError> {
    Manifest::parse(manifest.to_string().as_bytes(), None)
}

fn refusal(manifest: &Value) -> String {
    parse(manifest)
        .expect_err(&manifest.to_string())
        .to_string()
}

#[test]
fn an_image_is_read() {
    let manifest = parse(&image()).unwrap();
    assert_eq!(
        (manifest.kind, manifest.media_type),
        (Kind::Image, OCI_MANIFEST)
    );
    assert_eq!(
        manifest.blobs().map(|blob| blob.digest).collect::<Vec<_>>(),
        [digest(1), digest(2)]
    );
    assert_eq!(manifest.artifact_type(), Some(OCI_CONFIG));
}

#[test]
fn an_index_is_read() {
    let manifest = parse(&with(
        index(),
        "/manifests/0",
        "platform",
        json!({"os": "linux"}),
    ))
    .unwrap();
    assert_eq!(
        (manifest.kind, manifest.media_type),
        (Kind::Index, OCI_INDEX)
    );
    assert_eq!(manifest.blobs().count(), 0);
    assert_eq!(manifest.manifests[0].digest, digest(3));
    assert_eq!(manifest.manifests[0].platform, Some(json!({"os": "linux"})));
    assert_eq!(manifest.artifact_type(), None);
}

#[test]
fn an_index_may_list_blobs() {
    let entries = json!([
        descriptor("application/vnd.oci.image.layer.v1.tar+gzip", 4),
        descriptor("application/vnd.buildkit.cacheconfig.v0", 5),
        descriptor(OCI_MANIFEST, 3),
        descriptor(
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            6
        ),
    ]);
    let manifest = parse(&with(index(), "", "manifests", entries)).unwrap();
    assert_eq!(
        manifest
            .blobs()
            .map(|blob| (blob.digest, blob.may_be_missing()))
            .collect::<Vec<_>>(),
        [(digest(4), false), (digest(5), false), (digest(6), true)]
    );
    assert_eq!(
        manifest
            .children()
            .map(|child| child.digest)
            .collect::<Vec<_>>(),
        [digest(3)]
    );
}

#[test]
fn unusual_but_valid_manifests_are_taken() {
    let artifact = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.example.v1",
        "config": descriptor(OCI_EMPTY, 1), "layers": [descriptor("application/octet-stream", 2)],
        "subject": descriptor(OCI_MANIFEST, 9), "annotations": {"a": "b"},
    });
    for manifest in [
        artifact.clone(),
        without(artifact.clone(), "", "layers"),
        without(without(artifact.clone(), "", "layers"), "", "config"),
        with(image(), "", "layers", json!([])),
        with(image(), "", "layers", json!(null)),
        with(image(), "", "subject", json!(null)),
        with(image(), "", "annotations", json!(null)),
        with(image(), "", "mediaType", json!("")),
        with(image(), "", "manifests", json!(null)),
        with(
            image(),
            "",
            "org.example.field",
            json!([{"deep": [1.5, -1]}]),
        ),
        with(
            image(),
            "/config",
            "mediaType",
            json!("application/vnd.unheard.of"),
        ),
        with(image(), "/config", "data", json!("e30=")),
        with(image(), "/config", "digest", json!(Digest::sha512([1; 64]))),
        with(image(), "/layers/0", "urls", json!(["https://example.com"])),
        with(image(), "/layers/0", "size", json!(0)),
        with(index(), "", "manifests", json!([])),
        with(index(), "", "manifests", json!(null)),
        with(
            index(),
            "",
            "manifests",
            json!([descriptor(OCI_INDEX, 1), descriptor("text/plain", 2)]),
        ),
        with(
            index(),
            "",
            "artifactType",
            json!("application/vnd.example.v1"),
        ),
        with(
            with(image(), "", "mediaType", json!(DOCKER_MANIFEST)),
            "",
            "subject",
            descriptor(OCI_MANIFEST, 5),
        ),
        with(index(), "", "mediaType", json!(DOCKER_MANIFEST_LIST)),
    ] {
        parse(&manifest).unwrap_or_else(|error| panic!("{error}: {manifest}"));
    }
}

#[test]
fn header_and_body_agree_on_the_type() {
    let untyped = without(image(), "", "mediaType");
    let untyped_index = without(index(), "", "mediaType");
    let image = image();
    for (manifest, content_type, expected) in [
        (&image, None, Ok(OCI_MANIFEST)),
        (&image, Some(OCI_MANIFEST), Ok(OCI_MANIFEST)),
        (
            &image,
            Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
            Ok(OCI_MANIFEST),
        ),
        (&image, Some(""), Ok(OCI_MANIFEST)),
        (&untyped, None, Ok(OCI_MANIFEST)),
        (&untyped, Some(DOCKER_MANIFEST), Ok(DOCKER_MANIFEST)),
        (&untyped_index, None, Ok(OCI_INDEX)),
        (
            &untyped_index,
            Some(DOCKER_MANIFEST_LIST),
            Ok(DOCKER_MANIFEST_LIST),
        ),
        (
            &image,
            Some(DOCKER_MANIFEST),
            Err("differs from the manifest's own"),
        ),
        (
            &image,
            Some("application/json"),
            Err("differs from the manifest's own"),
        ),
        (
            &untyped,
            Some("application/json"),
            Err("`application/json` is not a manifest's media type"),
        ),
        (
            &untyped,
            Some(OCI_INDEX),
            Err("does not belong into an index"),
        ),
        (
            &untyped_index,
            Some(OCI_MANIFEST),
            Err("does not belong into an image manifest"),
        ),
    ] {
        let found = Manifest::parse(manifest.to_string().as_bytes(), content_type);
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.media_type, expected, "{content_type:?}"),
            (Err(error), Err(reason)) => assert!(
                error.to_string().contains(reason),
                "{content_type:?}: {error}"
            ),
            (found, _) => panic!("{content_type:?}: {found:?}"),
        }
    }
}

#[test]
fn schema_1_is_refused_by_name() {
    let schema1 = json!({"schemaVersion": 1, "name": "x", "tag": "y", "fsLayers": [], "history": [], "signatures": []});
    assert_eq!(parse(&schema1), Err(ManifestError::Schema1));
    assert_eq!(
        parse(&with(image(), "", "mediaType", json!(DOCKER_SCHEMA1))),
        Err(ManifestError::Schema1)
    );
    for content_type in [DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED] {
        assert_eq!(
            Manifest::parse(b"broken", Some(content_type)),
            Err(ManifestError::Schema1)
        );
    }
    assert!(ManifestError::Schema1.to_string().contains("schema 1"));
}

#[test]
fn a_wrong_field_is_named() {
    for (manifest, reason) in [
        (
            without(image(), "", "schemaVersion"),
            "`schemaVersion` of the manifest is missing",
        ),
        (
            with(image(), "", "schemaVersion", json!(3)),
            "`schemaVersion` of the manifest must be 2",
        ),
        (
            with(image(), "", "schemaVersion", json!("2")),
            "`schemaVersion` of the manifest must be 2",
        ),
        (
            with(image(), "", "mediaType", json!(2)),
            "`mediaType` of the manifest must be a string",
        ),
        (
            with(image(), "", "mediaType", json!("text/plain")),
            "`text/plain` is not a manifest's media type",
        ),
        (
            with(image(), "", "artifactType", json!([])),
            "`artifactType` of the manifest must be a string",
        ),
        (
            with(image(), "", "annotations", json!({"a": 1})),
            "`annotations` of the manifest must be an object",
        ),
        (
            without(image(), "", "config"),
            "`config` of the manifest is missing",
        ),
        (
            with(image(), "", "config", json!([])),
            "`config` of the manifest is not valid: it must be an object",
        ),
        (
            with(image(), "", "config", json!([OCI_CONFIG, digest(1), 7])),
            "`config` of the manifest is not valid: it must be an object",
        ),
        (
            with(image(), "", "layers", json!({})),
            "`layers` of the manifest must be a list",
        ),
        (
            with(image(), "", "subject", json!("x")),
            "`subject` of the manifest is not valid: it must be an object",
        ),
        (
            without(index(), "", "manifests"),
            "`manifests` of the manifest is missing",
        ),
        (
            with(index(), "", "manifests", json!([1])),
            "`manifests[0]` of the manifest is not valid: it must be an object",
        ),
        (
            json!({"schemaVersion": 2}),
            "cannot tell what the manifest is",
        ),
        (json!([2, OCI_MANIFEST]), "must be an object"),
    ] {
        let refusal = refusal(&manifest);
        assert!(refusal.contains(reason), "{refusal}: {manifest}");
    }
}

#[test]
fn a_wrong_field_of_a_descriptor_is_named() {
    for (manifest, reason) in [
        (
            without(image(), "/config", "mediaType"),
            "`config.mediaType` of the manifest is missing",
        ),
        (
            without(image(), "/config", "digest"),
            "`config.digest` of the manifest is missing",
        ),
        (
            without(image(), "/layers/0", "size"),
            "`layers[0].size` of the manifest is missing",
        ),
        (
            with(image(), "/layers/0", "size", json!(-1)),
            "`layers[0].size` of the manifest must not be negative",
        ),
        (
            with(image(), "/layers/0", "size", json!(1.5)),
            "`layers[0].size` of the manifest must be a whole number",
        ),
        (
            with(image(), "/layers/0", "size", json!(u64::MAX)),
            "`layers[0].size` of the manifest must be a whole number",
        ),
        (
            with(image(), "/layers/0", "digest", json!("sha256:x")),
            "`layers[0].digest` of the manifest is not valid: a sha256 digest has 64",
        ),
        (
            with(image(), "/layers/0", "urls", json!("x")),
            "`layers[0].urls` of the manifest must be a list",
        ),
        (
            with(image(), "/layers/0", "platform", json!("x")),
            "`layers[0].platform` of the manifest must be an object",
        ),
    ] {
        let refusal = refusal(&manifest);
        assert!(refusal.contains(reason), "{refusal}: {manifest}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let both = with(image(), "", "manifests", json!([]));
    assert_eq!(
        parse(&both),
        Err(ManifestError::Ambiguous("layers", "manifests"))
    );
    assert_eq!(
        parse(&without(both, "", "mediaType")),
        Err(ManifestError::Ambiguous("layers", "manifests"))
    );
    let twice = format!(r#"{{"layers":[],{}"#, &image().to_string()[1..]);
    let refusal = Manifest::parse(twice.as_bytes(), None)
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("duplicate field `layers`"), "{refusal}");
    let size_twice = image()
        .to_string()
        .replace(r#""size":7"#, r#""size":7,"size":8"#);
    let refusal = Manifest::parse(size_twice.as_bytes(), None)
        .unwrap_err()
        .to_string();
    assert!(
        refusal.contains("`config`") && refusal.contains("duplicate field `size`"),
        "{refusal}"
    );
}

#[test]
fn broken_json_is_refused() {
    for broken in [
        "",
        "{",
        "null",
        "2",
        r#""x""#,
        r#"{"schemaVersion":2,}"#,
        "{} {}",
        "\u{feff}{}",
    ] {
        assert!(
            Manifest::parse(broken.as_bytes(), None).is_err(),
            "{broken}"
        );
    }
    assert!(matches!(
        Manifest::parse(b"{\"a\":\"\xff\"}", None),
        Err(ManifestError::Malformed(_))
    ));
}

#[test]
fn size_and_depth_are_bounded() {
    let padded = |length: usize| {
        let text = image().to_string();
        format!("{text}{}", " ".repeat(length - text.len())).into_bytes()
    };
    assert!(Manifest::parse(&padded(MAX_MANIFEST_BYTES), None).is_ok());
    let error = Manifest::parse(&padded(MAX_MANIFEST_BYTES + 1), None).unwrap_err();
    assert_eq!(
        (error.code(), error),
        (
            ErrorCode::SizeInvalid,
            ManifestError::TooLarge(MAX_MANIFEST_BYTES + 1)
        )
    );

    let nested = |depth: usize| {
        let text = image().to_string();
        format!(
            r#"{{"x":{}{},{}"#,
            "[".repeat(depth),
            "]".repeat(depth),
            &text[1..]
        )
        .into_bytes()
    };
    assert!(Manifest::parse(&nested(MAX_DEPTH - 1), None).is_ok());
    assert_eq!(
        Manifest::parse(&nested(MAX_DEPTH), None),
        Err(ManifestError::TooDeep)
    );
    assert_eq!(
        Manifest::parse("[".repeat(MAX_MANIFEST_BYTES).as_bytes(), None),
        Err(ManifestError::TooDeep)
    );
    let brackets_in_text = with(image(), "", "annotations", json!({"a": "[{\"".repeat(500)}));
    assert!(parse(&brackets_in_text).is_ok());
}

#[test]
fn layers_that_may_not_be_pushed_are_named_and_may_be_missing() {
    let layers = json!([
        descriptor(
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            2
        ),
        descriptor(
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            3
        ),
        descriptor("application/vnd.oci.image.layer.v1.tar", 4),
    ]);
    let manifest = parse(&with(image(), "", "layers", layers)).unwrap();
    assert_eq!(
        manifest
            .blobs()
            .map(|blob| (blob.digest, blob.may_be_missing()))
            .collect::<Vec<_>>(),
        [
            (digest(1), false),
            (digest(2), true),
            (digest(3), true),
            (digest(4), false)
        ]
    );
}

#[test]
fn a_type_that_is_no_media_type_by_its_length_is_refused() {
    let typed = |length: usize| {
        let kind = format!("application/{}", "x".repeat(length - 12));
        parse(&with(image(), "", "artifactType", json!(kind)))
    };
    assert!(typed(255).is_ok());
    assert!(
        matches!(typed(256), Err(ManifestError::Field { field, .. }) if field == "artifactType")
    );
}

#[test]
fn a_referrer_is_described_by_the_rule_of_the_spec() {
    let subject = descriptor(OCI_MANIFEST, 9);
    let signature = with(
        with(image(), "", "subject", subject.clone()),
        "",
        "annotations",
        json!({"k": "v"}),
    );
    for (manifest, artifact_type) in [
        (signature.clone(), Some(OCI_CONFIG)),
        (
            with(signature.clone(), "", "artifactType", json!("a/b")),
            Some("a/b"),
        ),
        (
            with(signature, "", "artifactType", json!("")),
            Some(OCI_CONFIG),
        ),
        (
            with(
                with(index(), "", "subject", subject.clone()),
                "",
                "annotations",
                json!({"k": "v"}),
            ),
            None,
        ),
    ] {
        let manifest = parse(&manifest).unwrap();
        assert_eq!(manifest.subject.as_ref().unwrap().digest, digest(9));
        let mut expected = json!({
            "mediaType": manifest.media_type, "digest": digest(7), "size": 123, "annotations": {"k": "v"},
        });
        if let Some(artifact_type) = artifact_type {
            expected["artifactType"] = artifact_type.into();
        }
        assert_eq!(
            serde_json::to_value(manifest.referrer_descriptor(digest(7), 123)).unwrap(),
            expected
        );
    }
}
