//! What must hold of each parser for any input at all. One function a parser, shared by the property tests, the corpus
//! test and the fuzz targets. All take bytes; texts that are not UTF-8 are made so, as no other reach the parsers.

use std::borrow::Cow;

use oci::manifest::Kind;
use oci::range::{ByteRange, RangeRequest};
use oci::{
    Digest, Manifest, Reference, RepoName, Route, Scope, Tag, media_type, query, range, route,
    scope,
};
use serde_json::Value;

/// A parser's name in `fuzz/corpus` and its check.
pub type Check = (&'static str, fn(&[u8]));

/// Every parser.
pub const ALL: [Check; 8] = [
    ("content_range", content_range),
    ("digest", digest),
    ("manifest", manifest),
    ("name", name),
    ("query", query),
    ("range", range),
    ("route", route),
    ("scope", scope),
];

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A digest's text is its only spelling.
pub fn digest(bytes: &[u8]) {
    let text = text(bytes);
    let Ok(digest) = Digest::parse(&text) else {
        return;
    };
    assert_eq!(digest.to_string(), text);
    assert_eq!(
        Digest::from_bytes(digest.algorithm(), digest.bytes()),
        Ok(digest)
    );
    assert_eq!(text, format!("{}:{}", digest.algorithm(), digest.hex()));
    assert!(
        digest
            .hex()
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    );
}

/// Names, tags and references that are taken keep to the grammar; a reference is one or the other.
pub fn name(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(name) = RepoName::parse(text.as_ref()) {
        assert!(text.len() <= 255 && name.as_str() == text);
        assert!(text.split('/').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.ends_with(|c: char| c.is_ascii_alphanumeric())
                && part
                    .chars()
                    .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-'))
        }));
        assert!(
            !["..", "___", "._", "_.", ".-", "-.", "_-", "-_"]
                .iter()
                .any(|bad| text.contains(bad))
        );
        let rejoined = name.repository().map_or(name.project().to_owned(), |rest| {
            format!("{}/{rest}", name.project())
        });
        assert_eq!(rejoined, text);
        assert_eq!(text.parse::<RepoName>().as_ref(), Ok(&name.owned()));
    }
    let tag = Tag::parse(text.as_ref());
    if let Ok(tag) = &tag {
        assert!(
            (1..=128).contains(&text.len())
                && !text.starts_with(['.', '-'])
                && tag.as_str() == text
        );
        assert!(
            text.chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
        );
    }
    match Reference::parse(text.as_ref()) {
        Ok(Reference::Tag(found)) => assert_eq!(Ok(found), tag),
        Ok(Reference::Digest(found)) => assert_eq!(Digest::parse(&text), Ok(found)),
        Err(_) => assert!(tag.is_err() && Digest::parse(&text).is_err()),
    }
}

/// The first line is the method, the rest the path. A route that is taken can be written back to its path.
pub fn route(bytes: &[u8]) {
    let text = text(bytes);
    let (method, path) = text.split_once('\n').unwrap_or(("GET", &text));
    match route::parse(method, path) {
        Ok(found) => {
            assert_eq!(plain(path), written(&found), "{path}");
            assert!(
                found
                    .name()
                    .is_none_or(|name| RepoName::parse(name.as_str()).is_ok())
            );
        }
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.code().as_str().is_empty());
            assert!(
                error
                    .name()
                    .is_none_or(|name| path.starts_with(&format!("/v2/{name}/")))
            );
        }
    }
}

/// The one path of a route.
fn written(route: &Route<'_>) -> String {
    match route {
        Route::Ping => "/v2/".to_owned(),
        Route::Catalog => "/v2/_catalog".to_owned(),
        Route::Tags { name } => format!("/v2/{name}/tags/list"),
        Route::Manifest {
            name, reference, ..
        } => format!("/v2/{name}/manifests/{reference}"),
        Route::Blob { name, digest, .. } => format!("/v2/{name}/blobs/{digest}"),
        Route::UploadStart { name } => format!("/v2/{name}/blobs/uploads/"),
        Route::Upload { name, id, .. } => format!(
            "/v2/{name}/blobs/uploads/{}",
            query::decode(&id.replace('+', "%2B"))
        ),
        Route::Referrers { name, digest } => format!("/v2/{name}/referrers/{digest}"),
    }
}

/// A path with its escapes undone and the slashes that clients may leave out.
fn plain(path: &str) -> String {
    let path = query::decode(&path.replace('+', "%2B")).into_owned();
    if path == "/v2" || path.ends_with("/blobs/uploads") {
        format!("{path}/")
    } else {
        path
    }
}

/// The first line is the Content-Type (empty for none), the rest the manifest. What is taken is an unambiguous object.
pub fn manifest(bytes: &[u8]) {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or_default();
    let (content_type, body) = (
        text(&bytes[..end]),
        bytes.get(end + 1..).unwrap_or_default(),
    );
    let manifest = match Manifest::parse(
        body,
        Some(content_type.as_ref()).filter(|text| !text.is_empty()),
    ) {
        Ok(manifest) => manifest,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    // The limit of this parser is counted in another way, so it may refuse what nests just below ours.
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    assert_eq!(value["schemaVersion"], 2);
    assert!(media_type::ACCEPTED.contains(&manifest.media_type));
    assert_eq!(
        manifest.kind == Kind::Index,
        media_type::is_index(manifest.media_type)
    );
    match manifest.kind {
        Kind::Index => assert!(manifest.config.is_none() && manifest.layers.is_empty()),
        Kind::Image => assert!(manifest.manifests.is_empty() && manifest.artifact_type().is_some()),
    }
    for (key, found) in [
        ("layers", &manifest.layers),
        ("manifests", &manifest.manifests),
    ] {
        assert_eq!(value[key].as_array().map_or(0, Vec::len), found.len());
        for (index, descriptor) in found.iter().enumerate() {
            assert_eq!(value[key][index]["digest"], descriptor.digest.to_string());
            assert_eq!(value[key][index]["size"], descriptor.size);
        }
    }
    let named =
        manifest.layers.len() + manifest.manifests.len() + usize::from(manifest.config.is_some());
    assert!(manifest.blobs().count() + manifest.children().count() <= named);
    let referrer = manifest.referrer_descriptor(Digest::sha256([0; 32]), 1);
    assert_eq!(referrer.artifact_type.as_deref(), manifest.artifact_type());
}

/// The first line is the content's length, the rest the header. Parts lie inside the content and never overlap.
pub fn range(bytes: &[u8]) {
    let text = text(bytes);
    let (len, header) = text.split_once('\n').unwrap_or(("2048", &text));
    let len = len.parse().unwrap_or(2048);
    let RangeRequest::Parts(mut parts) = range::parse_range(header, len) else {
        return;
    };
    assert!((1..=16).contains(&parts.len()));
    parts.sort_by_key(|part| part.start);
    assert!(
        parts
            .iter()
            .all(|part| part.start <= part.end && part.end < len)
    );
    assert!(parts.windows(2).all(|pair| pair[0].end < pair[1].start));
    assert!(parts.iter().map(ByteRange::len).sum::<u64>() <= len);
}

/// A chunk's range reads back from the form that the spec gives it.
pub fn content_range(bytes: &[u8]) {
    let text = text(bytes);
    let Ok(found) = range::parse_content_range(&text) else {
        return;
    };
    assert!(found.start <= found.end && found.len() > 0);
    assert_eq!(range::parse_content_range(&found.to_string()), Ok(found));
    assert_eq!(
        range::parse_content_range(&format!("bytes {found}/*")),
        Ok(found)
    );
    assert_eq!(
        range::parse_content_range(&found.content_range(found.end + 1)),
        Ok(found)
    );
}

/// Pairs survive being encoded again, and an encoded text is safe inside `<…>` of a Link header.
pub fn query(bytes: &[u8]) {
    let text = text(bytes);
    assert_eq!(query::decode(&query::encode(&text)), text);
    assert!(
        query::encode(&text)
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte))
    );
    let pairs: Vec<_> = query::pairs(&text).collect();
    let encoded: Vec<_> = pairs
        .iter()
        .map(|(key, value)| format!("{}={}", query::encode(key), query::encode(value)))
        .collect();
    assert_eq!(query::pairs(&encoded.join("&")).collect::<Vec<_>>(), pairs);
}

/// A scope reads back as it is printed, and a parameter holds the scopes that are put into it.
pub fn scope(bytes: &[u8]) {
    let text = text(bytes);
    let scopes: Vec<Scope> = scope::parse_scopes(&text).filter_map(Result::ok).collect();
    let printed: Vec<_> = scopes.iter().map(ToString::to_string).collect();
    let again: Result<Vec<Scope>, _> = scope::parse_scopes(&printed.join(" ")).collect();
    assert_eq!(again, Ok(scopes));
}
