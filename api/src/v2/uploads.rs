//! Uploads: start, append, finish, status, cancel, and mounts. The id stands in the path; locations carry no host and no query.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use model::{Error, Result, What, permission::Action};
use oci::{
    digest::{Algorithm, Digest},
    name::RepoName,
    query,
    range::{parse_content_range, upload_range},
};
use registry::{push::Target, upload::Chunk};

use super::{
    empty,
    guard::{self, Granted, Refusal},
    text,
};
use crate::{
    body::{Body, RequestBody},
    service::Ask,
};

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// Repositories looked at as sources of a mount that names none.
const MOST_SOURCES: i64 = 16;

/// POST: a mount, a whole content (`digest`), or a session.
pub(super) async fn start(
    ask: &Ask,
    granted: &Granted,
    target: &Target,
    body: RequestBody,
) -> Result<Response<Body>, Refusal> {
    if let Some(digest) = query::first(ask.query(), "mount") {
        let digest = parse_digest(&digest)?;
        if mount(ask, granted, target, &digest).await? {
            return Ok(created(target, &digest));
        }
        return Ok(open(ask, granted, target, digest.algorithm()));
    }
    if let Some(digest) = query::first(ask.query(), "digest") {
        let digest = parse_digest(&digest)?;
        check_room(ask, &body)?;
        ask.app.registry.push_blob(target, &digest, body).await?;
        return Ok(created(target, &digest));
    }
    let algorithm = match query::first(ask.query(), "digest-algorithm") {
        None => Algorithm::Sha256,
        Some(name) => name
            .parse()
            .map_err(|error: oci::DigestError| Error::invalid(What::Digest, error.to_string()))?,
    };
    check_room(ask, &body)?;
    Ok(open(ask, granted, target, algorithm))
}

pub(super) async fn append(
    ask: &Ask,
    granted: &Granted,
    target: &Target,
    id: &str,
    body: RequestBody,
) -> Result<Response<Body>, Refusal> {
    check_room(ask, &body)?;
    let chunk = chunk(ask, body)?;
    let received = ask
        .app
        .registry
        .append_upload(target, &granted.caller.identity(), id, chunk)
        .await?;
    Ok(progress(StatusCode::ACCEPTED, target, id, received))
}

pub(super) async fn finish(
    ask: &Ask,
    granted: &Granted,
    target: &Target,
    id: &str,
    body: RequestBody,
) -> Result<Response<Body>, Refusal> {
    let digest = query::first(ask.query(), "digest").ok_or_else(|| {
        Error::invalid(
            What::Digest,
            "the last request of an upload must name its `digest` in the query",
        )
    })?;
    let digest = parse_digest(&digest)?;
    check_room(ask, &body)?;
    let chunk = chunk(ask, body)?;
    ask.app
        .registry
        .finish_upload(target, &granted.caller.identity(), id, &digest, chunk)
        .await?;
    Ok(created(target, &digest))
}

pub(super) async fn status(
    ask: &Ask,
    granted: &Granted,
    target: &Target,
    id: &str,
) -> Result<Response<Body>> {
    let received = ask
        .app
        .registry
        .upload_received(target.name.borrowed(), &granted.caller.identity(), id)
        .await?;
    Ok(progress(StatusCode::NO_CONTENT, target, id, received))
}

pub(super) async fn cancel(
    ask: &Ask,
    granted: &Granted,
    target: &Target,
    id: &str,
) -> Result<Response<Body>> {
    ask.app
        .registry
        .cancel_upload(target.name.borrowed(), &granted.caller.identity(), id)
        .await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// With `from` the token must reach the source too, or the client is told what to bring; a source that does not have the
/// content means an ordinary upload. Without `from` any repository will do that the caller may pull, by his rights alone:
/// he knows the digest and may read the bytes, and the token could not have named a source that he did not know.
async fn mount(
    ask: &Ask,
    granted: &Granted,
    target: &Target,
    digest: &Digest,
) -> Result<bool, Refusal> {
    let registry = &ask.app.registry;
    let Some(from) = query::first(ask.query(), "from") else {
        for from in registry.find_holders(digest, MOST_SOURCES).await? {
            if guard::may_pull(ask, &granted.caller, &from).await?
                && registry.mount_blob(target, digest, &from).await?
            {
                return Ok(true);
            }
        }
        return Ok(false);
    };
    // A source whose name cannot exist holds nothing.
    let Ok(from) = from.parse::<RepoName>() else {
        return Ok(false);
    };
    let reaches = auth::scope_allows(&granted.caller, from.as_str(), Action::Pull.as_str());
    if !reaches || !guard::may_pull(ask, &granted.caller, &from).await? {
        return Err(guard::challenge_mount(ask, target.name.borrowed(), &from));
    }
    Ok(registry.mount_blob(target, digest, &from).await?)
}

fn open(ask: &Ask, granted: &Granted, target: &Target, algorithm: Algorithm) -> Response<Body> {
    let id = ask.app.registry.open_upload(
        target.name.borrowed(),
        &granted.caller.identity(),
        algorithm,
    );
    progress(StatusCode::ACCEPTED, target, &id, 0)
}

fn progress(status: StatusCode, target: &Target, id: &str, received: u64) -> Response<Body> {
    let mut response = empty(status);
    let headers = response.headers_mut();
    headers.insert(
        header::LOCATION,
        text(&format!("/v2/{}/blobs/uploads/{id}", target.name)),
    );
    headers.insert(header::RANGE, text(&upload_range(received)));
    headers.insert(UUID, text(id));
    response
}

fn created(target: &Target, digest: &Digest) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(
        header::LOCATION,
        text(&format!("/v2/{}/blobs/{digest}", target.name)),
    );
    headers.insert(
        DIGEST,
        HeaderValue::from_str(&digest.to_string()).unwrap_or_else(|_| HeaderValue::from_static("")),
    );
    response
}

fn chunk(ask: &Ask, body: RequestBody) -> Result<Chunk<RequestBody>> {
    let range = ask
        .header(header::CONTENT_RANGE)
        .map(|value| {
            parse_content_range(value)
                .map_err(|error| Error::invalid(What::Range, error.to_string()))
        })
        .transpose()?;
    Ok(Chunk {
        range,
        length: body.length(),
        body,
    })
}

/// Before the first byte is asked for: a full store, or one that is not ours, takes nothing.
fn check_room(ask: &Ask, body: &RequestBody) -> Result<()> {
    if !ask.app.health.store_works() {
        return Err(Error::Unavailable(anyhow::anyhow!(
            "the store is missing, another's or does not answer: see /readyz"
        )));
    }
    if !ask
        .app
        .registry
        .store()
        .has_room(body.length().unwrap_or(0))
    {
        return Err(registry::store_error(blob::Error::Full));
    }
    Ok(())
}

fn parse_digest(text: &str) -> Result<Digest> {
    text.parse()
        .map_err(|error: oci::DigestError| Error::invalid(What::Digest, error.to_string()))
}
