//! Manifests: pull, push, delete. The media type of the answer is the pushed one, whatever Accept says: a client that
//! asked by tag has no other to choose from.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use model::{Error, Result, What};
use oci::{
    manifest::MAX_MANIFEST_BYTES,
    name::{NameRef, Tag},
    query,
    reference::{Reference, ReferenceRef},
    route::ManifestVerb,
};
use registry::{manifest::NewManifest, push::Target};

use super::{check_room, counting, empty, guard::Granted, shared_text, text, trust};
use crate::{
    body::{Body, RequestBody},
    headers,
    notes::Notes,
    request::Ask,
};

/// Content by digest never changes; who may read it is asked each time.
pub(super) const FOREVER: HeaderValue =
    HeaderValue::from_static("private, max-age=31536000, immutable");
/// Tags that one push may set.
const MOST_TAGS: usize = 64;

pub(super) async fn get(
    ask: &Ask,
    notes: &mut Notes,
    granted: &Granted,
    name: NameRef<'_>,
    reference: &ReferenceRef<'_>,
    verb: ManifestVerb,
) -> Result<Response<Body>> {
    let registry = ask.app.registry.or_last_known();
    let found = registry.find_manifest(name, reference).await?;
    let manifest = found.ok_or_else(|| not_found(name, reference))?;
    notes.digest = Some(manifest.artifact.digest);
    trust::check(ask, granted, manifest.artifact.id).await?;
    let fresh = is_fresh(&ask.head.headers, manifest.digest());
    let mut response = match (fresh, verb) {
        (true, _) => empty(StatusCode::NOT_MODIFIED),
        (false, ManifestVerb::Head) => empty(StatusCode::OK),
        (false, _) => Response::new(Body::whole(manifest.bytes.clone())),
    };
    let answer = response.headers_mut();
    if !fresh {
        counting::pulled(ask, granted, name, reference, verb, &manifest);
        let media_type = manifest.media_type.clone();
        answer.insert(header::CONTENT_TYPE, shared_text(media_type));
        answer.insert(
            header::CONTENT_LENGTH,
            HeaderValue::from(manifest.bytes.len()),
        );
    }
    let quoted = &manifest.quoted_digest;
    answer.insert(header::ETAG, shared_text(quoted.clone()));
    answer.insert(
        headers::CONTENT_DIGEST,
        shared_text(quoted.slice(1..quoted.len() - 1)),
    );
    if matches!(reference, ReferenceRef::Digest(_)) {
        answer.insert(header::CACHE_CONTROL, FOREVER);
    }
    Ok(response)
}

pub(super) async fn put(
    ask: &Ask,
    notes: &mut Notes,
    target: &Target,
    reference: &ReferenceRef<'_>,
    body: RequestBody,
) -> Result<Response<Body>> {
    let tags = asked_tags(ask.query())?;
    check_room(ask, &body)?;
    let content_type = ask.header(header::CONTENT_TYPE).map(str::to_owned);
    let bytes = body.all(MAX_MANIFEST_BYTES, "a manifest").await?;
    let reference: Reference = reference.owned();
    let told = tags
        .iter()
        .map(|tag| text(tag.as_str()))
        .collect::<Vec<_>>();
    let pushed = ask
        .registry(&notes.subject)
        .push_manifest(
            target,
            NewManifest {
                bytes,
                content_type,
                reference,
                tags,
            },
        )
        .await?;
    notes.digest = Some(pushed.digest);
    let mut response = empty(StatusCode::CREATED);
    let answer = response.headers_mut();
    answer.insert(
        header::LOCATION,
        text(&format!("/v2/{}/manifests/{}", target.name, pushed.digest)),
    );
    answer.insert(headers::CONTENT_DIGEST, text(&pushed.digest.to_string()));
    if let Some(subject) = pushed.subject {
        answer.insert(headers::SUBJECT, text(&subject.to_string()));
    }
    for tag in told {
        answer.append(headers::TAG, tag);
    }
    Ok(response)
}

pub(super) async fn delete(
    ask: &Ask,
    notes: &Notes,
    name: NameRef<'_>,
    reference: &ReferenceRef<'_>,
) -> Result<Response<Body>> {
    let (registry, name) = (ask.registry(&notes.subject), name.owned());
    match reference.owned() {
        Reference::Tag(tag) => registry.delete_tag(&name, &tag).await?,
        Reference::Digest(digest) => registry.delete_manifest(&name, &digest).await?,
    }
    Ok(empty(StatusCode::ACCEPTED))
}

fn asked_tags(asked: &str) -> Result<Vec<Tag>> {
    let tags: Vec<Tag> = query::all(asked, "tag")
        .take(MOST_TAGS + 1)
        .map(|tag| {
            tag.parse()
                .map_err(|error: oci::TagError| Error::invalid(What::Tag, error.to_string()))
        })
        .collect::<Result<_>>()?;
    if tags.len() > MOST_TAGS {
        return Err(Error::TooLarge(format!(
            "a push may set at most {MOST_TAGS} tags at once"
        )));
    }
    Ok(tags)
}

fn not_found(name: NameRef<'_>, reference: &ReferenceRef<'_>) -> Error {
    Error::not_found(
        What::Manifest,
        match reference {
            ReferenceRef::Tag(tag) => format!("artifact {name}:{tag} not found"),
            ReferenceRef::Digest(digest) => format!("artifact {name}@{digest} not found"),
        },
    )
}

pub(super) fn etag(digest: &str) -> HeaderValue {
    text(&format!("\"{digest}\""))
}

/// Whether the client has this content already: `If-None-Match` with the digest, quoted or not, weak or not, in a list or `*`.
pub(super) fn is_fresh(headers: &HeaderMap, digest: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value
                .split(',')
                .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'))
                .any(|tag| tag == digest || tag == "*")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_none_match_is_read_in_all_its_forms() {
        let digest = "sha256:abc";
        for (value, fresh) in [
            ("\"sha256:abc\"", true),
            ("sha256:abc", true),
            ("W/\"sha256:abc\"", true),
            ("\"sha256:def\", \"sha256:abc\"", true),
            ("*", true),
            ("\"sha256:ab\"", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            assert_eq!(is_fresh(&headers, digest), fresh, "{value}");
        }
        assert!(!is_fresh(&HeaderMap::new(), digest));
    }
}
