//! Uploads: start, append, finish, status, cancel, and mounts. The id stands in the path; locations carry no host and no query.

use http::{Response, StatusCode, header};
use model::{Error, Result, What};
use oci::{
    digest::{Algorithm, Digest},
    name::{NameRef, RepoName},
    query,
    range::{parse_content_range, upload_range},
};
use registry::{push::Target, upload::Chunk};

use super::{
    check_room, check_store, empty,
    guard::{self, Granted, Refusal},
    swap, text,
};
use crate::{
    admission::{Permit, Room},
    body::{Body, RequestBody},
    headers,
    notes::Notes,
    request::Ask,
};

/// Repositories looked at as sources of a mount that names none.
const MOST_SOURCES: i64 = 16;

/// A session that a request speaks of.
pub(super) struct Upload<'a> {
    pub(super) target: Target,
    pub(super) caller: String,
    pub(super) id: &'a str,
    /// A quota limits what the project may hold.
    pub(super) is_limited: bool,
}

/// POST: a mount, a whole content (`digest`), or a session.
pub(super) async fn start(
    ask: &Ask,
    notes: &mut Notes,
    granted: &Granted,
    name: NameRef<'_>,
    room: Permit,
    body: RequestBody,
) -> Result<Response<Body>, Refusal> {
    let target = &granted.target(name);
    if let Some(digest) = query::first(ask.query(), "mount") {
        let digest = parse_digest(&digest)?;
        notes.digest = Some(digest);
        check_store(ask)?;
        if mount(ask, granted, target, &digest).await? {
            return Ok(created(target, &digest));
        }
        check_quota(ask, granted.is_limited, target, 0, Some(&digest)).await?;
        return Ok(open(ask, granted, target, digest.algorithm()));
    }
    if let Some(digest) = query::first(ask.query(), "digest") {
        let digest = parse_digest(&digest)?;
        notes.digest = Some(digest);
        let _room = swap(ask, room, Room::Upload)?;
        check_room(ask, &body)?;
        let length = body.length().unwrap_or(0);
        check_quota(ask, granted.is_limited, target, length, Some(&digest)).await?;
        ask.registry(&notes.subject)
            .push_blob(target, &digest, body)
            .await?;
        return Ok(created(target, &digest));
    }
    let algorithm = match query::first(ask.query(), "digest-algorithm") {
        None => Algorithm::Sha256,
        Some(name) => name
            .parse()
            .map_err(|error: oci::DigestError| Error::invalid(What::Digest, error.to_string()))?,
    };
    check_room(ask, &body)?;
    check_quota(ask, granted.is_limited, target, 0, None).await?;
    Ok(open(ask, granted, target, algorithm))
}

pub(super) async fn append(
    ask: &Ask,
    upload: &Upload<'_>,
    body: RequestBody,
) -> Result<Response<Body>> {
    check_room(ask, &body)?;
    let chunk = chunk(ask, upload, body)?;
    let Upload {
        target, caller, id, ..
    } = upload;
    let received = ask
        .app
        .registry
        .append_upload(target, caller, id, chunk)
        .await?;
    Ok(progress(StatusCode::ACCEPTED, target, id, received))
}

pub(super) async fn finish(
    ask: &Ask,
    notes: &mut Notes,
    upload: &Upload<'_>,
    body: RequestBody,
) -> Result<Response<Body>> {
    let digest = query::first(ask.query(), "digest").ok_or_else(|| {
        Error::invalid(
            What::Digest,
            "the last request of an upload must name its `digest` in the query",
        )
    })?;
    let digest = parse_digest(&digest)?;
    notes.digest = Some(digest);
    check_room(ask, &body)?;
    let chunk = chunk(ask, upload, body)?;
    let Upload {
        target, caller, id, ..
    } = upload;
    ask.registry(&notes.subject)
        .finish_upload(target, caller, id, &digest, chunk)
        .await?;
    Ok(created(target, &digest))
}

pub(super) async fn status(ask: &Ask, upload: &Upload<'_>) -> Result<Response<Body>> {
    let Upload {
        target, caller, id, ..
    } = upload;
    let received = ask
        .app
        .registry
        .upload_received(target.name.borrowed(), caller, id)
        .await?;
    Ok(progress(StatusCode::NO_CONTENT, target, id, received))
}

pub(super) async fn cancel(ask: &Ask, upload: &Upload<'_>) -> Result<Response<Body>> {
    let Upload {
        target, caller, id, ..
    } = upload;
    ask.app
        .registry
        .cancel_upload(target.name.borrowed(), caller, id)
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
    let registry = ask.registry(&granted.caller.subject);
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
    guard::check_source(ask, &granted.caller, target.name.borrowed(), &from).await?;
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
    let answer = response.headers_mut();
    answer.insert(
        header::LOCATION,
        text(&format!("/v2/{}/blobs/uploads/{id}", target.name)),
    );
    answer.insert(header::RANGE, text(&upload_range(received)));
    answer.insert(headers::UPLOAD_UUID, text(id));
    response
}

fn created(target: &Target, digest: &Digest) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    let answer = response.headers_mut();
    answer.insert(
        header::LOCATION,
        text(&format!("/v2/{}/blobs/{digest}", target.name)),
    );
    answer.insert(headers::CONTENT_DIGEST, text(&digest.to_string()));
    response
}

fn chunk(ask: &Ask, upload: &Upload<'_>, body: RequestBody) -> Result<Chunk<RequestBody>> {
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
        is_limited: upload.is_limited,
        body: body.resumable(),
    })
}

/// Before the first byte is asked for, as far as its length is known.
async fn check_quota(
    ask: &Ask,
    is_limited: bool,
    target: &Target,
    adding: u64,
    digest: Option<&Digest>,
) -> Result<()> {
    if !is_limited {
        return Ok(());
    }
    let registry = &ask.app.registry;
    registry.check_quota(target.project, adding, digest).await
}

fn parse_digest(text: &str) -> Result<Digest> {
    text.parse()
        .map_err(|error: oci::DigestError| Error::invalid(What::Digest, error.to_string()))
}
