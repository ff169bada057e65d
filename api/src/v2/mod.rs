//! The distribution API. A request becomes a `Route` once; what it needs and who does it are two matches on that value.

mod blobs;
mod counting;
mod guard;
mod lists;
mod manifests;
mod multipart;
mod referrers;
mod trust;
mod uploads;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use model::{Error, Result, permission::Action};
use oci::{
    digest::Digest,
    name::NameRef,
    range::upload_range,
    reference::ReferenceRef,
    route::{self, BlobVerb, ManifestVerb, Route, RouteError, UploadVerb},
};

use crate::{
    admission::{Permit, Room},
    body::{Body, RequestBody},
    error::{self, Dialect},
    headers,
    measure::Kind,
    notes::Notes,
    request::Ask,
};

use guard::{Refusal, check};

type Answer = Result<Response<Body>, Refusal>;

/// RFC 7234, section 5.5.
const STALE: HeaderValue = HeaderValue::from_static(
    "299 - \"the registry's database is away: this is what it said a moment ago\"",
);

pub(crate) async fn serve(ask: &Ask, notes: &mut Notes, body: RequestBody) -> Response<Body> {
    let stale_before = ask.app.registry.db().stale_answers();
    let mut response = match answer(ask, notes, body).await {
        Ok(response) => response,
        Err(refusal) => refuse(ask, refusal),
    };
    // While the database is away that holds of whoever asks at the same time too.
    if ask.app.registry.db().stale_answers() != stale_before {
        metrics::counter!("seawall_stale_answers_total").increment(1);
        response.headers_mut().insert(header::WARNING, STALE);
    }
    headers::add_api_version(&mut response);
    response
}

async fn answer(ask: &Ask, notes: &mut Notes, body: RequestBody) -> Answer {
    // Before the first question to the database, so that a slow one is never asked by more than these.
    let room = ask.app.admission.enter(Room::Small)?;
    match route::parse(ask.head.method.as_str(), ask.head.uri.path()) {
        Ok(route) => {
            notes.kind = kind(&route);
            notes.names(&route);
            dispatch(ask, notes, &route, room, body).await
        }
        Err(error) => bad_route(ask, notes, &error).await,
    }
}

/// What each route needs and who does it. The large ones are boxed: the others should not carry their room around.
async fn dispatch(
    ask: &Ask,
    notes: &mut Notes,
    route: &Route<'_>,
    room: Permit,
    body: RequestBody,
) -> Answer {
    match *route {
        Route::Ping => {
            guard::check_signed_in(ask, notes).await?;
            Ok(json("{}"))
        }
        Route::Catalog => {
            guard::check_catalog(ask, notes).await?;
            Ok(lists::catalog(ask).await?)
        }
        Route::Tags { name } => {
            check(ask, notes, name, Action::Pull).await?;
            Ok(lists::tags(ask, name).await?)
        }
        Route::Referrers { name, digest } => {
            check(ask, notes, name, Action::Pull).await?;
            Ok(referrers::list(ask, name, &digest).await?)
        }
        Route::Manifest {
            name,
            reference,
            verb: verb @ (ManifestVerb::Get | ManifestVerb::Head),
        } => {
            let granted = check(ask, notes, name, Action::Pull).await?;
            Ok(manifests::get(ask, notes, &granted, name, &reference, verb).await?)
        }
        Route::Manifest {
            name,
            reference,
            verb,
        } => Box::pin(change_manifest(ask, notes, name, &reference, verb, body)).await,
        Route::Blob { name, digest, verb } => {
            Box::pin(blob(ask, notes, name, &digest, verb, room)).await
        }
        Route::UploadStart { name } => {
            let granted = check(ask, notes, name, Action::Push).await?;
            Box::pin(uploads::start(ask, notes, &granted, name, room, body)).await
        }
        // Also to look at an upload and to cancel it: it belongs to whoever pushes.
        Route::Upload { name, id, verb } => {
            let granted = check(ask, notes, name, Action::Push).await?;
            let upload = uploads::Upload {
                target: granted.target(name),
                caller: granted.caller.identity(),
                id,
                is_limited: granted.is_limited,
            };
            Box::pin(upload_request(ask, notes, &upload, verb, room, body)).await
        }
    }
}

async fn change_manifest(
    ask: &Ask,
    notes: &mut Notes,
    name: NameRef<'_>,
    reference: &ReferenceRef<'_>,
    verb: ManifestVerb,
    body: RequestBody,
) -> Answer {
    if verb == ManifestVerb::Delete {
        check(ask, notes, name, Action::Delete).await?;
        return Ok(manifests::delete(ask, notes, name, reference).await?);
    }
    let target = check(ask, notes, name, Action::Push).await?.target(name);
    Ok(manifests::put(ask, notes, &target, reference, body).await?)
}

async fn blob(
    ask: &Ask,
    notes: &mut Notes,
    name: NameRef<'_>,
    digest: &Digest,
    verb: BlobVerb,
    room: Permit,
) -> Answer {
    if verb == BlobVerb::Delete {
        check(ask, notes, name, Action::Delete).await?;
        return Ok(blobs::delete(ask, notes, name, digest).await?);
    }
    check(ask, notes, name, Action::Pull).await?;
    let room = match verb {
        BlobVerb::Get => swap(ask, room, Room::Download)?,
        _ => room,
    };
    Ok(blobs::get(ask, name, digest, verb, room).await?)
}

async fn upload_request(
    ask: &Ask,
    notes: &mut Notes,
    upload: &uploads::Upload<'_>,
    verb: UploadVerb,
    room: Permit,
    body: RequestBody,
) -> Answer {
    Ok(match verb {
        UploadVerb::Status => uploads::status(ask, upload).await?,
        UploadVerb::Cancel => uploads::cancel(ask, upload).await?,
        UploadVerb::Append => {
            let _room = swap(ask, room, Room::Upload)?;
            uploads::append(ask, upload, body).await?
        }
        UploadVerb::Finish => {
            let _room = swap(ask, room, Room::Upload)?;
            uploads::finish(ask, notes, upload, body).await?
        }
    })
}

/// The request turns out to need room of another kind.
fn swap(ask: &Ask, small: Permit, room: Room) -> Result<Permit> {
    let larger = ask.app.admission.enter(room)?;
    drop(small);
    Ok(larger)
}

/// A path without a route. Strangers are asked who they are first; then the text says what is wrong.
async fn bad_route(ask: &Ask, notes: &mut Notes, error: &RouteError<'_>) -> Answer {
    guard::ask_strangers(ask, notes, error.name()).await?;
    let status = match error {
        RouteError::NotFound => StatusCode::NOT_FOUND,
        RouteError::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
        // To read a manifest by something that is no reference finds nothing; to push one so is a mistake.
        RouteError::BadReference { .. } if matches!(ask.head.method.as_str(), "GET" | "HEAD") => {
            StatusCode::NOT_FOUND
        }
        RouteError::BadName(_) | RouteError::BadDigest { .. } | RouteError::BadReference { .. } => {
            StatusCode::BAD_REQUEST
        }
    };
    let mut response = error::plain(status, error.code().as_str(), &error.to_string());
    if let RouteError::MethodNotAllowed { allow, .. } = error {
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    Ok(response)
}

fn refuse(ask: &Ask, refusal: Refusal) -> Response<Body> {
    match refusal {
        Refusal::Challenge(response) => *response,
        Refusal::Error(failed) => {
            let mut response =
                error::answer(&failed, Dialect::Distribution, ask.request_id.as_str());
            if let Error::RangeMismatch { have } = failed {
                let headers = response.headers_mut();
                headers.insert(header::RANGE, text(&upload_range(have)));
                headers.insert(header::LOCATION, text(ask.head.uri.path()));
            }
            response
        }
    }
}

fn kind(route: &Route<'_>) -> Kind {
    match route {
        Route::Ping => Kind::Ping,
        Route::Catalog => Kind::CatalogList,
        Route::Tags { .. } => Kind::TagList,
        Route::Referrers { .. } => Kind::ReferrerList,
        Route::Manifest { verb, .. } => match verb {
            ManifestVerb::Get => Kind::ManifestGet,
            ManifestVerb::Head => Kind::ManifestHead,
            ManifestVerb::Put => Kind::ManifestPut,
            ManifestVerb::Delete => Kind::ManifestDelete,
        },
        Route::Blob { verb, .. } => match verb {
            BlobVerb::Get => Kind::BlobGet,
            BlobVerb::Head => Kind::BlobHead,
            BlobVerb::Delete => Kind::BlobDelete,
        },
        Route::UploadStart { .. } => Kind::UploadStart,
        Route::Upload { verb, .. } => match verb {
            UploadVerb::Status => Kind::UploadStatus,
            UploadVerb::Append => Kind::UploadAppend,
            UploadVerb::Finish => Kind::UploadFinish,
            UploadVerb::Cancel => Kind::UploadCancel,
        },
    }
}

/// A header's value from text of ours: names, digests, numbers.
pub(super) fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

pub(super) fn json(body: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
}

pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The same from text that is shared with what is remembered, without a copy.
pub(super) fn shared_text(value: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Nothing is written into a store that is missing or another's.
pub(super) fn check_store(ask: &Ask) -> Result<()> {
    if ask.app.health.store_works() {
        return Ok(());
    }
    Err(Error::Unavailable(anyhow::anyhow!(
        "the store is missing, another's or does not answer: see /readyz"
    )))
}

/// Before the first byte is asked for: a full store, or one that is not ours, takes nothing.
pub(super) fn check_room(ask: &Ask, body: &RequestBody) -> Result<()> {
    check_store(ask)?;
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
