//! Content by digest: pull with ranges, and take away.

use blob::ReadMode;
use db::blobs::Blob;
use http::{HeaderName, HeaderValue, Response, StatusCode, Version, header};
use model::{Error, Result, What};
use oci::{
    digest::Digest,
    name::NameRef,
    range::{RangeRequest, parse_range},
};

use super::{
    empty,
    manifests::{FOREVER, etag, is_fresh},
    multipart, text,
};
use crate::{admission::Permit, body::Body, error, service::Ask};

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

pub(super) async fn head(ask: &Ask, name: NameRef<'_>, digest: &Digest) -> Result<Response<Body>> {
    let blob = ask
        .app
        .registry
        .find_blob(name, digest)
        .await?
        .ok_or_else(|| not_found(name, digest))?;
    let told = digest.to_string();
    if is_fresh(&ask.head.headers, &told) {
        return Ok(with_identity(empty(StatusCode::NOT_MODIFIED), &told));
    }
    let mut response = with_identity(empty(StatusCode::OK), &told);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(blob.size));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    Ok(response)
}

pub(super) async fn get(
    ask: &Ask,
    name: NameRef<'_>,
    digest: &Digest,
    permit: Permit,
) -> Result<Response<Body>> {
    let blob = ask
        .app
        .registry
        .find_blob(name, digest)
        .await?
        .ok_or_else(|| not_found(name, digest))?;
    let told = digest.to_string();
    if is_fresh(&ask.head.headers, &told) {
        return Ok(with_identity(empty(StatusCode::NOT_MODIFIED), &told));
    }
    let asked = asked_range(ask, &told, blob.size);
    if asked == RangeRequest::Unsatisfiable {
        return Ok(unsatisfiable(blob.size));
    }
    let reader = open(ask, name, digest, &blob).await?;
    // Bytes of a mapped file may only be handed to the kernel: over plain HTTP/1 they go nowhere else.
    let plain = ask
        .connection
        .as_ref()
        .is_some_and(|connection| connection.plain_http1)
        && ask.head.version <= Version::HTTP_11;
    let mode = if plain {
        ReadMode::Mapped
    } else {
        ReadMode::Copied
    };
    let (status, content_type, range, length, body) = match asked {
        RangeRequest::Parts(parts) if parts.len() > 1 => {
            let answer = multipart::Answer::new(&parts, blob.size);
            let (content_type, length) = (answer.content_type(), answer.length());
            (
                StatusCode::PARTIAL_CONTENT,
                text(&content_type),
                None,
                length,
                Body::streamed(answer.stream(reader, ReadMode::Copied), length, permit),
            )
        }
        RangeRequest::Parts(parts) => {
            let part = parts[0];
            let body = Body::streamed(
                reader.stream(part.start..part.end + 1, mode),
                part.len(),
                permit,
            );
            (
                StatusCode::PARTIAL_CONTENT,
                OCTETS,
                Some(part.content_range(blob.size)),
                part.len(),
                body,
            )
        }
        _ => (
            StatusCode::OK,
            OCTETS,
            None,
            blob.size,
            Body::streamed(reader.stream(0..blob.size, mode), blob.size, permit),
        ),
    };
    let mut response = with_identity(Response::new(body), &told);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(range) = range {
        headers.insert(header::CONTENT_RANGE, text(&range));
    }
    Ok(response)
}

pub(super) async fn delete(
    ask: &Ask,
    name: NameRef<'_>,
    digest: &Digest,
) -> Result<Response<Body>> {
    ask.app.registry.delete_blob(&name.owned(), digest).await?;
    Ok(empty(StatusCode::ACCEPTED))
}

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// `If-Range` with another content's tag makes the range void.
fn asked_range(ask: &Ask, digest: &str, size: u64) -> RangeRequest {
    let same = ask
        .header(header::IF_RANGE)
        .is_none_or(|tag| tag.trim_matches('"') == digest);
    match ask.header(header::RANGE) {
        Some(range) if same => parse_range(range, size),
        _ => RangeRequest::Whole,
    }
}

/// Content that is missing or damaged in the store is not there: the next push heals it.
async fn open(ask: &Ask, name: NameRef<'_>, digest: &Digest, blob: &Blob) -> Result<blob::Reader> {
    match ask
        .app
        .registry
        .store()
        .open_blob(digest, &blob.location, blob.size)
        .await
    {
        Ok(reader) => Ok(reader),
        Err(failed @ (blob::Error::NotFound | blob::Error::Damaged(_))) => {
            tracing::error!(%digest, error = %failed, "stored content is missing or damaged: push it again to heal it");
            ask.app.registry.suspect(digest).await?;
            Err(not_found(name, digest))
        }
        Err(failed) => Err(registry::store_error(failed)),
    }
}

fn with_identity(mut response: Response<Body>, digest: &str) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(DIGEST, text(digest));
    headers.insert(header::ETAG, etag(digest));
    headers.insert(header::CACHE_CONTROL, FOREVER);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

fn unsatisfiable(size: u64) -> Response<Body> {
    let mut response = error::plain(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "SIZE_INVALID",
        &format!("the content has {size} bytes"),
    );
    response
        .headers_mut()
        .insert(header::CONTENT_RANGE, text(&format!("bytes */{size}")));
    response
}

fn not_found(name: NameRef<'_>, digest: &Digest) -> Error {
    Error::not_found(What::Blob, format!("blob `{digest}` not found in `{name}`"))
}
