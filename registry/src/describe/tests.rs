use oci::media_type::{OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use serde_json::json;

use super::*;

fn digest(of: &str) -> Digest {
    blob::digest_of(oci::Algorithm::Sha256, of.as_bytes())
}

fn part(media_type: &str, annotations: &Value) -> Value {
    json!({ "mediaType": media_type, "digest": digest(media_type), "size": 100, "annotations": annotations })
}

/// A manifest of this config and layer, with more members.
fn manifest(config: &str, layer: &str, more: &Value) -> Manifest {
    let mut body = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": part(config, &json!({})), "layers": [part(layer, &json!({}))],
    });
    merge(&mut body, more);
    parse(&body)
}

fn index(children: &[Value], more: &Value) -> Manifest {
    let mut body = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children });
    merge(&mut body, more);
    parse(&body)
}

fn merge(body: &mut Value, more: &Value) {
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
}

fn parse(body: &Value) -> Manifest {
    Manifest::parse(body.to_string().as_bytes(), None).unwrap()
}

fn subject() -> Value {
    json!({ "mediaType": OCI_MANIFEST, "digest": digest("subject"), "size": 7 })
}

fn attrs(manifest: &Manifest, config: &str) -> Value {
    let described = describe(manifest, &[], Some(config.as_bytes()));
    described
        .extra_attrs
        .map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const MODEL: &str = "application/vnd.caicloud.model.config.v1alpha1+json";

#[test]
fn a_manifest_says_what_kind_it_is() {
    let none = json!({});
    for (config, more, kind, media_type) in [
        (OCI_CONFIG, &none, "IMAGE", OCI_CONFIG),
        (DOCKER_CONFIG, &none, "IMAGE", DOCKER_CONFIG),
        (CHART, &none, "CHART", CHART),
        (SBOM, &none, "SBOM", SBOM),
        (WASM, &none, "WASM", WASM),
        (
            OCI_CONFIG,
            &json!({ "annotations": { "module.wasm.image/variant": "compat" } }),
            "WASM",
            WASM,
        ),
        (
            OCI_CONFIG,
            &json!({ "annotations": { "run.oci.handler": "wasm" } }),
            "WASM",
            WASM,
        ),
        (
            OCI_CONFIG,
            &json!({ "annotations": { "run.oci.handler": "crun" } }),
            "IMAGE",
            OCI_CONFIG,
        ),
        (
            "application/vnd.cncf.model.config.v1+json",
            &json!({ "artifactType": CNAI }),
            "CNAI",
            "application/vnd.cncf.model.config.v1+json",
        ),
        // Its own type goes before the config's; when it is unknown, the config's names it after all.
        (
            OCI_EMPTY,
            &json!({ "artifactType": SBOM }),
            "SBOM",
            OCI_EMPTY,
        ),
        (
            OCI_EMPTY,
            &json!({ "artifactType": "application/vnd.example.report" }),
            "UNKNOWN",
            OCI_EMPTY,
        ),
        (
            OCI_CONFIG,
            &json!({ "artifactType": "application/vnd.example.report" }),
            "IMAGE",
            OCI_CONFIG,
        ),
        (MODEL, &none, "MODEL", MODEL),
    ] {
        let manifest = manifest(config, LAYER, more);
        assert_eq!(Kind::of(&manifest).as_str(), kind, "{config} {more}");
        assert_eq!(super::media_type(&manifest), media_type, "{config} {more}");
    }
}

#[test]
fn the_name_in_a_configs_type_is_its_kind() {
    let long = format!("application/vnd.a.{}.config.v1+json", "x".repeat(256));
    for (media_type, name) in [
        ("application/vnd.sylabs.sif.config.v1+json", Some("SIF")),
        (
            "application/vnd.aquasec.trivy.config.v1+json",
            Some("TRIVY"),
        ),
        (
            "application/vnd.a.b.config.c.config.v1+json",
            Some("B.CONFIG.C"),
        ),
        ("application/vnd.a.config.v1+json", None),
        ("application/vnd.a..config.v1+json", None),
        ("application/vnd.a.b.config.v1.2+json", None),
        ("application/vnd.a.b.config.v1", None),
        ("application/vnd.a.b\nc.config.v1+json", None),
        ("application/json", None),
        ("", None),
        (&*long, None),
    ] {
        assert_eq!(name_in(media_type).as_deref(), name, "{media_type}");
    }
}

#[test]
fn an_index_is_an_image_unless_it_says_otherwise() {
    let children = [
        part(OCI_MANIFEST, &json!({ CNAB_PART: "invocation" })),
        part(DOCKER_LIKE, &json!({ CNAB_PART: "config" })),
    ];
    for (more, kind, media_type) in [
        (json!({}), "IMAGE", OCI_INDEX),
        (
            json!({ "annotations": { TYPE_OF_INDEX: CNAB } }),
            "CNAB",
            CNAB,
        ),
        (
            json!({ "annotations": { TYPE_OF_INDEX: MODEL } }),
            "MODEL",
            MODEL,
        ),
        (
            json!({ "artifactType": "application/vnd.example" }),
            "UNKNOWN",
            OCI_INDEX,
        ),
    ] {
        let manifest = index(&children, &more);
        assert_eq!(Kind::of(&manifest).as_str(), kind, "{more}");
        assert_eq!(super::media_type(&manifest), media_type, "{more}");
        assert_eq!(describe(&manifest, &[], None).extra_attrs, None);
        let source = match kind {
            "CNAB" => ConfigSource::Child(digest(DOCKER_LIKE)),
            _ => ConfigSource::Nowhere,
        };
        assert_eq!(ConfigSource::of(&Kind::of(&manifest), &manifest), source);
    }
}

const DOCKER_LIKE: &str = "application/vnd.docker.distribution.manifest.v2+json";

#[test]
fn an_image_tells_when_where_and_how_it_runs() {
    let config = r#"{"created":"2026-01-02T03:04:05Z","architecture":"amd64","os":"linux","rootfs":{"type":"layers"},
        "config":{"Env":["A=b"],"Cmd":["sh"],"Entrypoint":null,"Hostname":"","Tty":false,"User":"","Labels":{"maintainer":"ann"},"StopSignal":"SIGINT"},
        "history":[{"created_by":"x"}]}"#;
    assert_eq!(
        attrs(&manifest(OCI_CONFIG, LAYER, &json!({})), config),
        json!({
            "created": "2026-01-02T03:04:05Z", "architecture": "amd64", "os": "linux", "author": "ann",
            "config": { "Env": ["A=b"], "Cmd": ["sh"], "Labels": { "maintainer": "ann" }, "StopSignal": "SIGINT" },
        })
    );
    assert_eq!(
        attrs(&manifest(DOCKER_CONFIG, LAYER, &json!({})), "{}"),
        json!({ "created": null, "architecture": "", "os": "", "author": "", "config": {} })
    );
}

#[test]
fn the_author_of_an_image_is_looked_for_in_its_labels() {
    for (config, author) in [
        (
            r#"{"author":"a","config":{"Labels":{"maintainer":"m"}}}"#,
            "a",
        ),
        (
            r#"{"author":"","config":{"Labels":{"maintainer":"m","org.opencontainers.image.authors":"o"}}}"#,
            "o",
        ),
        (
            r#"{"config":{"Labels":{"org.opencontainers.image.authors":"","maintainer":"m"}}}"#,
            "m",
        ),
        (r#"{"config":{"Labels":null}}"#, ""),
        (r#"{"author":7,"config":[]}"#, ""),
    ] {
        let attrs = attrs(&manifest(OCI_CONFIG, LAYER, &json!({})), config);
        assert_eq!(attrs["author"], author, "{config}");
    }
}

#[test]
fn other_kinds_tell_all_that_their_config_has() {
    let chart =
        r#"{"name":"app","version":"1.2.3","apiVersion":"v2","dependencies":[{"name":"db"}]}"#;
    let whole: Value = serde_json::from_str(chart).unwrap();
    for (config, more) in [
        (CHART, json!({})),
        (SBOM, json!({})),
        (MODEL, json!({})),
        (
            "application/vnd.cncf.model.config.v1+json",
            json!({ "artifactType": CNAI }),
        ),
    ] {
        assert_eq!(
            attrs(&manifest(config, LAYER, &more), chart),
            whole,
            "{config}"
        );
    }
    let bundle = index(&[], &json!({ "annotations": { TYPE_OF_INDEX: CNAB } }));
    assert_eq!(attrs(&bundle, chart), whole);
    let unknown = manifest(OCI_EMPTY, LAYER, &json!({ "artifactType": "a/b" }));
    assert_eq!(attrs(&unknown, chart), Value::Null);
}

#[test]
fn a_wasm_module_tells_of_its_layer_or_of_its_image() {
    let module = manifest(
        WASM,
        "application/vnd.wasm.content.layer.v1+wasm",
        &json!({}),
    );
    assert_eq!(
        ConfigSource::of(&Kind::Wasm, &module),
        ConfigSource::Nowhere
    );
    assert_eq!(
        attrs(&module, "{}"),
        json!({
            "manifest.config.mediaType": WASM, "org.opencontainers.image.title": "",
            "manifest.layers.mediaType": "application/vnd.wasm.content.layer.v1+wasm",
        })
    );
    let compat = json!({ "annotations": { "module.wasm.image/variant": "compat" } });
    let image = attrs(&manifest(OCI_CONFIG, LAYER, &compat), r#"{"os":"wasip1"}"#);
    assert_eq!(image["manifest.config.mediaType"], OCI_CONFIG);
    assert_eq!(image["os"], "wasip1");
}

#[test]
fn an_artifact_of_a_users_own_kind_names_its_icon_and_what_is_skipped() {
    let config = json!({ "mediaType": MODEL, "digest": digest("c"), "size": 9, "annotations": { SKIP_LIST: "metrics,git" } });
    let layers = json!([
        part("application/tar+gzip", &json!({})),
        { "mediaType": "image/png", "digest": digest("icon"), "size": 166_015, "annotations": { ICON: "" } },
        { "mediaType": "image/png", "digest": digest("other"), "size": 9, "annotations": { ICON: "" } },
    ]);
    let custom = manifest(MODEL, LAYER, &json!({ "config": config, "layers": layers }));
    let described = describe(&custom, &[], None);
    assert_eq!(
        (described.icon, described.extra_attrs),
        (Some(digest("icon")), None)
    );
    assert_eq!(
        attrs(&custom, r#"{"metrics":[1],"git":"x","name":"n"}"#),
        json!({ "name": "n" })
    );
    // Harbor looks for them on artifacts without a kind of its own only.
    let image = manifest(OCI_CONFIG, LAYER, &json!({ "layers": layers }));
    assert_eq!(describe(&image, &[], None).icon, None);
    let mut large = layers.clone();
    large[1]["size"] = json!(MOST_ICON + 1);
    let large = manifest(MODEL, LAYER, &json!({ "layers": large }));
    assert_eq!(describe(&large, &[], None).icon, None);
}

#[test]
fn an_accessory_is_known_by_its_subject_or_by_cosigns_tag() {
    let hex = "ab".repeat(32);
    let signature_tag = format!("sha256-{hex}.sig");
    let nydus = json!([
        part(LAYER, &json!({})),
        part(
            LAYER,
            &json!({ "containerd.io/snapshot/nydus-bootstrap": "true" })
        )
    ]);
    let simple = "application/vnd.dev.cosign.simplesigning.v1+json";
    for (config, layer, more, tag, expected) in [
        (
            OCI_CONFIG,
            simple,
            json!({}),
            &*signature_tag,
            Some("signature.cosign"),
        ),
        (OCI_CONFIG, LAYER, json!({}), &*signature_tag, None),
        (OCI_CONFIG, simple, json!({}), "v1", None),
        (
            OCI_CONFIG,
            simple,
            json!({}),
            &*format!("sha256-{hex}.att"),
            None,
        ),
        (OCI_CONFIG, simple, json!({}), "sha256-abc.sig", None),
        (
            "application/vnd.dev.cosign.artifact.sig.v1+json",
            simple,
            json!({ "subject": subject() }),
            "v1",
            Some("signature.cosign"),
        ),
        (
            OCI_EMPTY,
            LAYER,
            json!({ "subject": subject(), "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json" }),
            "v1",
            Some("signature.cosign"),
        ),
        (
            "application/vnd.cncf.notary.signature",
            LAYER,
            json!({ "subject": subject() }),
            "v1",
            Some("signature.notation"),
        ),
        (
            OCI_EMPTY,
            LAYER,
            json!({ "subject": subject(), "artifactType": SBOM }),
            "v1",
            Some("sbom.harbor"),
        ),
        (
            OCI_CONFIG,
            LAYER,
            json!({ "subject": subject(), "layers": nydus }),
            "v1",
            Some("accelerator.nydus"),
        ),
        (
            OCI_CONFIG,
            LAYER,
            json!({ "subject": subject() }),
            "v1",
            Some("subject.accessory"),
        ),
        (OCI_CONFIG, LAYER, json!({}), "v1", None),
    ] {
        let manifest = manifest(config, layer, &more);
        let described = describe(&manifest, &[tag.parse().unwrap()], None);
        let accessory = described.accessory.map(Accessory::as_str);
        assert_eq!(accessory, expected, "{config} {more} {tag}");
        let of = match (expected, manifest.subject.is_some()) {
            (None, _) => None,
            (_, true) => Some(digest("subject")),
            (_, false) => Some(format!("sha256:{hex}").parse().unwrap()),
        };
        assert_eq!(described.accessory_of, of);
    }
    for accessory in Accessory::ALL {
        assert_eq!(Accessory::parse(accessory.as_str()), Some(accessory));
    }
}

#[test]
fn a_config_that_makes_no_sense_tells_nothing() {
    let deep = "[".repeat(100_000);
    let wide: serde_json::Map<_, _> = (0..2000).map(|n| (n.to_string(), json!(1))).collect();
    let wide = Value::Object(wide).to_string();
    for config in [
        "",
        "null",
        "[]",
        "7",
        "{",
        "{\"a\":1}x",
        "\u{feff}{}",
        &*deep,
        &*wide,
    ] {
        for kind in [OCI_CONFIG, CHART] {
            let described = describe(
                &manifest(kind, LAYER, &json!({})),
                &[],
                Some(config.as_bytes()),
            );
            assert_eq!(described.extra_attrs, None, "{kind} {config:.40}");
        }
    }
    let not_text = describe(
        &manifest(CHART, LAYER, &json!({})),
        &[],
        Some(b"{\"a\":\"\xff\"}"),
    );
    assert_eq!(not_text.extra_attrs, None);
    // What is wrong inside is left out alone: too deep, a number that no program holds, half a character.
    let nested = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let partly = format!(r#"{{"deep":{nested},"huge":1e999,"half":"\ud800","name":"app"}}"#);
    assert_eq!(
        attrs(&manifest(CHART, LAYER, &json!({})), &partly),
        json!({ "name": "app" })
    );
}

#[test]
fn what_is_told_of_a_config_has_a_bound() {
    let large = "x".repeat(100_000);
    let image =
        format!(r#"{{"os":"linux","config":{{"Env":["A=b"],"Labels":{{"large":"{large}"}}}}}}"#);
    let told = attrs(&manifest(OCI_CONFIG, LAYER, &json!({})), &image);
    assert_eq!(
        (&told["os"], &told["config"]),
        (&json!("linux"), &json!({ "Env": ["A=b"] }))
    );
    let half = "y".repeat(40_000);
    let chart = format!(r#"{{"name":"app","one":"{half}","two":"{half}z","three":"{large}"}}"#);
    let told = attrs(&manifest(CHART, LAYER, &json!({})), &chart);
    assert_eq!(told, json!({ "name": "app", "one": half }));
    // Text that grows when it is escaped.
    let image = format!(r#"{{"author":"{}"}}"#, "\\u0001".repeat(10_000));
    let described = describe(
        &manifest(OCI_CONFIG, LAYER, &json!({})),
        &[],
        Some(image.as_bytes()),
    );
    assert!(described.extra_attrs.unwrap().len() <= MOST_ATTRS);
}
