//! Content by digest: pull with ranges, and take away.

use std::{future::ready, net::IpAddr};

use blob::ReadMode;
use db::blobs::Blob;
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, Version, header};
use model::{Error, Result, What};
use oci::{
    digest::Digest,
    name::NameRef,
    range::{RangeRequest, parse_range},
    route::BlobVerb,
};

use super::{
    empty,
    manifests::{FOREVER, etag, is_fresh},
    multipart, text,
};
use crate::{admission::Permit, body::Body, error, headers, notes::Notes, request::Ask};

/// GET and HEAD. The room is kept until the last byte was sent.
pub(super) async fn get(
    ask: &Ask,
    name: NameRef<'_>,
    digest: &Digest,
    verb: BlobVerb,
    room: Permit,
) -> Result<Response<Body>> {
    let blob = ask
        .app
        .registry
        .or_last_known()
        .find_blob(name, digest)
        .await?
        .ok_or_else(|| not_found(name, digest))?;
    let told = digest.to_string();
    if is_fresh(&ask.head.headers, &told) {
        return Ok(with_identity(empty(StatusCode::NOT_MODIFIED), &told));
    }
    if verb == BlobVerb::Head {
        let mut response = with_identity(empty(StatusCode::OK), &told);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(blob.size));
        headers.insert(header::CONTENT_TYPE, OCTETS);
        return Ok(response);
    }
    let asked = asked_range(ask, &told, blob.size);
    if asked == RangeRequest::Unsatisfiable {
        return Ok(unsatisfiable(blob.size));
    }
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
    let reader = match open(ask, digest, &blob).await {
        Ok(reader) => reader,
        Err(failed) => return Err(not_readable(ask, name, digest, failed).await),
    };
    match elsewhere(ask, &reader).await {
        Ok(Some(address)) => return Ok(sent_on(&address, &told)),
        Ok(None) => {}
        Err(failed) => return Err(not_readable(ask, name, digest, failed).await),
    }
    if asked == RangeRequest::Whole && ask.app.registry.is_at_hand(blob.size) {
        return match small(ask, digest, &blob, room).await {
            Ok(response) => Ok(with_identity(response, &told)),
            Err(failed) => Err(not_readable(ask, name, digest, failed).await),
        };
    }
    match content(reader, &asked, blob.size, mode, room).await {
        Ok(response) => Ok(with_identity(response, &told)),
        Err(failed) => Err(not_readable(ask, name, digest, failed).await),
    }
}

/// Where this client gets the bytes from the store itself; none where they come through here.
async fn elsewhere(ask: &Ask, reader: &blob::Reader) -> blob::Result<Option<String>> {
    let clients = &ask.app.config.redirect_clients;
    let is_meant = |client: IpAddr| clients.iter().any(|network| network.contains(&client));
    if !clients.is_empty() && !ask.client().is_some_and(is_meant) {
        return Ok(None);
    }
    reader.signed().await
}

/// The address ends soon, so nobody is to remember it.
fn sent_on(address: &str, digest: &str) -> Response<Body> {
    let mut response = with_identity(empty(StatusCode::TEMPORARY_REDIRECT), digest);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, text(address));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The whole of what another node may have at hand.
async fn small(
    ask: &Ask,
    digest: &Digest,
    blob: &Blob,
    room: Permit,
) -> blob::Result<Response<Body>> {
    let registry = &ask.app.registry;
    let read = registry.read_whole(digest, &blob.location, blob.size);
    let bytes = stream::once(ready(Ok(read.await?)));
    let mut response = Response::new(Body::streamed(bytes, blob.size, room));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, OCTETS);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(blob.size));
    Ok(response)
}

/// The whole, one range of it, or several with their heads.
async fn content(
    reader: blob::Reader,
    asked: &RangeRequest,
    size: u64,
    mode: ReadMode,
    room: Permit,
) -> blob::Result<Response<Body>> {
    let (range, content_type, length, body) = match asked {
        RangeRequest::Parts(parts) if parts.len() > 1 => {
            let answer = multipart::Answer::new(parts, size);
            let (content_type, length) = (text(&answer.content_type()), answer.length());
            let body = Body::streamed(answer.stream(reader, ReadMode::Copied), length, room);
            (None, content_type, length, body)
        }
        RangeRequest::Parts(parts) => {
            let (part, length) = (parts[0], parts[0].len());
            let bytes = reader.start(part.start..part.end + 1, mode).await?;
            let body = Body::streamed(bytes, length, room);
            (Some(part.content_range(size)), OCTETS, length, body)
        }
        _ => {
            let body = Body::streamed(reader.start(0..size, mode).await?, size, room);
            (None, OCTETS, size, body)
        }
    };
    let mut response = Response::new(body);
    if matches!(asked, RangeRequest::Parts(_)) {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
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
    notes: &Notes,
    name: NameRef<'_>,
    digest: &Digest,
) -> Result<Response<Body>> {
    ask.registry(&notes.subject)
        .delete_blob(&name.owned(), digest)
        .await?;
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

async fn open(ask: &Ask, digest: &Digest, blob: &Blob) -> blob::Result<blob::Reader> {
    let store = ask.app.registry.store();
    store.open_blob(digest, &blob.location, blob.size).await
}

/// Content that is missing or damaged in the store is not there: the next push heals it.
async fn not_readable(ask: &Ask, name: NameRef<'_>, digest: &Digest, failed: blob::Error) -> Error {
    if !matches!(failed, blob::Error::NotFound | blob::Error::Damaged(_)) {
        return registry::store_error(failed);
    }
    tracing::error!(%digest, error = %failed, "stored content is missing or damaged: push it again to heal it");
    match ask.app.registry.suspect(digest).await {
        Ok(()) => not_found(name, digest),
        Err(error) => error,
    }
}

fn with_identity(mut response: Response<Body>, digest: &str) -> Response<Body> {
    let answer = response.headers_mut();
    answer.insert(headers::CONTENT_DIGEST, text(digest));
    answer.insert(header::ETAG, etag(digest));
    answer.insert(header::CACHE_CONTROL, FOREVER);
    answer.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
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
