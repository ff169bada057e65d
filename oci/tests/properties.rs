//! The checks of every parser, on texts drawn close to its grammar: random bytes alone would seldom be accepted.

mod checks;

use oci::{Algorithm, Digest, Manifest, RepoName, Tag};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Texts of the grammar, with a few characters changed some of the time.
fn nearly(regex: &'static str) -> impl Strategy<Value = String> {
    let exact = proptest::string::string_regex(regex).expect("the expressions below are valid");
    (
        exact,
        prop::option::of((
            any::<prop::sample::Index>(),
            "[-A-Za-z0-9._/:%=+,\\[\\]{}\" \n\u{e4}]{0,2}",
        )),
    )
        .prop_map(|(text, change)| match change {
            None => text,
            Some((at, with)) => {
                let mut characters: Vec<char> = text.chars().collect();
                let at = at.index(characters.len() + 1);
                let end = (at + 1).min(characters.len());
                characters.splice(at..end, with.chars());
                characters.into_iter().collect()
            }
        })
}

fn digest() -> impl Strategy<Value = Digest> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(Digest::sha256),
        any::<[u8; 64]>().prop_map(Digest::sha512)
    ]
}

/// A JSON value that is right, or one of the usual wrong ones.
fn mostly(right: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    let wrong = prop::sample::select(vec![
        json!(null),
        json!(""),
        json!(-1),
        json!([]),
        json!({}),
        json!("x"),
        json!(1),
    ]);
    prop_oneof![12 => right, 1 => wrong]
}

fn descriptor() -> impl Strategy<Value = Value> {
    let digest = mostly(digest().prop_map(|digest| json!(digest)));
    let media_type = mostly(prop::sample::select(vec![
        json!("application/vnd.oci.image.config.v1+json"),
        json!("a/b"),
    ]));
    let size = mostly(any::<u64>().prop_map(|size| json!(size >> 1)));
    (media_type, digest, size).prop_map(|(media_type, digest, size)| {
        json!({"mediaType": media_type, "digest": digest, "size": size, "annotations": {"k": "v"}})
    })
}

fn manifest() -> impl Strategy<Value = Value> {
    let media_type = mostly(prop::sample::select(
        oci::media_type::ACCEPTED.map(Value::from).to_vec(),
    ));
    let list = || mostly(prop::collection::vec(mostly(descriptor()), 0..4).prop_map(Value::from));
    let fields = (
        prop::option::weighted(0.95, mostly(Just(json!(2)))),
        prop::option::of(media_type),
        prop::option::of(mostly(descriptor())),
        prop::option::of(list()),
        prop::option::weighted(0.3, list()),
        prop::option::of(mostly(descriptor())),
        prop::option::of(mostly(Just(json!("application/vnd.example")))),
    );
    fields.prop_map(
        |(version, media_type, config, layers, manifests, subject, artifact_type)| {
            let fields = [
                ("schemaVersion", version),
                ("mediaType", media_type),
                ("config", config),
                ("layers", layers),
                ("manifests", manifests),
                ("subject", subject),
                ("artifactType", artifact_type),
            ];
            fields
                .into_iter()
                .filter_map(|(key, value)| Some((key.to_owned(), value?)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, check) in checks::ALL {
            check(&bytes);
        }
    }

    #[test]
    fn digests(text in nearly("(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}|[a-z0-9+]{1,8}:[0-9a-f]{0,70})")) {
        checks::digest(text.as_bytes());
    }

    #[test]
    fn a_hash_and_its_digest_are_one(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            if let Ok(digest) = Digest::from_bytes(algorithm, &bytes) {
                    prop_assert_eq!(digest.bytes(), &bytes[..]);
                    prop_assert_eq!(Digest::parse(&digest.to_string()), Ok(digest));
            } else {
 prop_assert_ne!(bytes.len(), algorithm.byte_len());
}
        }
    }

    #[test]
    fn names(text in nearly("[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,4}((\\.|_|__|-)[a-z0-9]{1,4}){0,2}){0,4}")) {
        checks::name(text.as_bytes());
    }

    #[test]
    fn every_name_of_the_grammar_is_taken(text in "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}){0,5}") {
        prop_assert!(RepoName::parse(text).is_ok());
    }

    #[test]
    fn every_tag_of_the_grammar_is_taken(text in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}") {
        prop_assert!(Tag::parse(text).is_ok());
    }

    #[test]
    fn routes(
        method in "(GET|HEAD|PUT|POST|PATCH|DELETE|OPTIONS)",
        path in nearly("/v2(/|/_catalog|(/(a|lib-x|blobs|tags|list|manifests|uploads|a\\.b)){1,4}/(tags/list|manifests/[a-z0-9.]{1,9}|manifests/sha256(:|%3A)[0-9a-f]{64}|blobs/sha256(:|%3a)[0-9a-f]{64}|blobs/uploads/?|blobs/uploads/[a-zA-Z0-9_%-]{1,9}|referrers/sha256:[0-9a-f]{64}))"),
    ) {
        checks::route(format!("{method}\n{path}").as_bytes());
    }

    #[test]
    fn manifests(manifest in manifest(), content_type in prop::option::weighted(0.3, prop::sample::select(oci::media_type::ACCEPTED.to_vec()))) {
        checks::manifest(format!("{}\n{manifest}", content_type.unwrap_or_default()).as_bytes());
    }

    #[test]
    fn a_manifest_cut_short_is_refused(manifest in manifest(), at in any::<prop::sample::Index>()) {
        let text = manifest.to_string();
        prop_assert!(Manifest::parse(&text.as_bytes()[..at.index(text.len())], None).is_err());
    }

    #[test]
    fn ranges(len in prop_oneof![0..3000_u64, any::<u64>()], header in nearly("bytes=([0-9]{0,4}-[0-9]{0,4}, ?){0,17}[0-9]{0,21}-[0-9]{0,21}")) {
        checks::range(format!("{len}\n{header}").as_bytes());
    }

    #[test]
    fn content_ranges(header in nearly("(bytes[ =])?[0-9]{1,20}-[0-9]{1,20}(/(\\*|[0-9]{1,20}))?")) {
        checks::content_range(header.as_bytes());
    }

    #[test]
    fn queries(query in nearly("([a-z%+]{0,4}=?(%[0-9a-fA-F]{2}|[a-z+%/:\u{e4}]){0,6}&){0,4}")) {
        checks::query(query.as_bytes());
    }

    #[test]
    fn scopes(parameter in nearly("([a-z()]{1,10}:[a-z/:]{1,10}:[a-z,*]{0,8} ){1,3}")) {
        checks::scope(parameter.as_bytes());
    }
}
