//! The distribution API. A request becomes a `Route` once; what it needs and who does it are two matches on that value.

mod blobs;
mod guard;
mod lists;
mod manifests;
mod multipart;
mod referrers;
mod uploads;

use http::{HeaderValue, Response, StatusCode, header};
use model::{Error, Result, What};
use oci::{
    name::RepoName,
    range::upload_range,
    route::{self, BlobVerb, ManifestVerb, Route, RouteError, UploadVerb},
};
use registry::push::Target;

use crate::{
    admission::Room,
    body::{Body, RequestBody},
    error::{self, Dialect},
    service::Ask,
};

use guard::{Granted, Refusal};

pub(crate) async fn serve(ask: &mut Ask, body: RequestBody) -> Response<Body> {
    let mut response = match answer(ask, body).await {
        Ok(response) => response,
        Err(refusal) => refuse(ask, refusal),
    };
    response.headers_mut().insert(
        "docker-distribution-api-version",
        HeaderValue::from_static("registry/2.0"),
    );
    response
}

async fn answer(ask: &mut Ask, body: RequestBody) -> Result<Response<Body>, Refusal> {
    // The path is read from a copy, so that handlers may note things in `ask` meanwhile.
    let (method, uri) = (ask.head.method.clone(), ask.head.uri.clone());
    let route = match route::parse(method.as_str(), uri.path()) {
        Ok(route) => route,
        Err(error) => return bad_route(ask, &error).await,
    };
    ask.route = label(&route);
    let granted = guard::check(ask, &route).await?;
    dispatch(ask, &route, granted, body).await
}

async fn dispatch(
    ask: &mut Ask,
    route: &Route<'_>,
    granted: Granted,
    body: RequestBody,
) -> Result<Response<Body>, Refusal> {
    let app = ask.app.clone();
    let room = |room| app.admission.enter(room).map_err(Refusal::from);
    match route {
        Route::Ping => Ok(json("{}")),
        Route::Catalog => {
            let _room = room(Room::Small)?;
            Ok(lists::catalog(ask).await?)
        }
        Route::Tags { name } => {
            let _room = room(Room::Small)?;
            Ok(lists::tags(ask, *name).await?)
        }
        Route::Referrers { name, digest } => {
            let _room = room(Room::Small)?;
            Ok(referrers::list(ask, *name, digest).await?)
        }
        Route::Manifest {
            name,
            reference,
            verb,
        } => {
            let _room = room(Room::Small)?;
            match verb {
                ManifestVerb::Get | ManifestVerb::Head => {
                    Ok(manifests::get(ask, *name, reference, *verb).await?)
                }
                ManifestVerb::Put => {
                    Ok(manifests::put(ask, &granted.target(*name)?, reference, body).await?)
                }
                ManifestVerb::Delete => Ok(manifests::delete(ask, *name, reference).await?),
            }
        }
        Route::Blob { name, digest, verb } => match verb {
            BlobVerb::Get => Ok(blobs::get(ask, *name, digest, room(Room::Download)?).await?),
            BlobVerb::Head => Ok(blobs::head(ask, *name, digest).await?),
            BlobVerb::Delete => Ok(blobs::delete(ask, *name, digest).await?),
        },
        Route::UploadStart { name } => {
            let _room = room(Room::Upload)?;
            uploads::start(ask, &granted, &granted.target(*name)?, body).await
        }
        Route::Upload { name, id, verb } => {
            let target = granted.target(*name)?;
            match verb {
                UploadVerb::Status => Ok(uploads::status(ask, &granted, &target, id).await?),
                UploadVerb::Cancel => Ok(uploads::cancel(ask, &granted, &target, id).await?),
                UploadVerb::Append => {
                    let _room = room(Room::Upload)?;
                    uploads::append(ask, &granted, &target, id, body).await
                }
                UploadVerb::Finish => {
                    let _room = room(Room::Upload)?;
                    uploads::finish(ask, &granted, &target, id, body).await
                }
            }
        }
    }
}

/// A path without a route. Strangers are asked who they are first; then the text says what is wrong.
async fn bad_route(ask: &mut Ask, error: &RouteError<'_>) -> Result<Response<Body>, Refusal> {
    guard::ask_strangers(ask, error.name()).await?;
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

fn label(route: &Route<'_>) -> &'static str {
    match route {
        Route::Ping => "ping",
        Route::Catalog => "catalog.list",
        Route::Tags { .. } => "tag.list",
        Route::Referrers { .. } => "referrer.list",
        Route::Manifest { verb, .. } => match verb {
            ManifestVerb::Get => "manifest.get",
            ManifestVerb::Head => "manifest.head",
            ManifestVerb::Put => "manifest.put",
            ManifestVerb::Delete => "manifest.delete",
        },
        Route::Blob { verb, .. } => match verb {
            BlobVerb::Get => "blob.get",
            BlobVerb::Head => "blob.head",
            BlobVerb::Delete => "blob.delete",
        },
        Route::UploadStart { .. } => "upload.start",
        Route::Upload { verb, .. } => match verb {
            UploadVerb::Status => "upload.status",
            UploadVerb::Append => "upload.append",
            UploadVerb::Finish => "upload.finish",
            UploadVerb::Cancel => "upload.cancel",
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

/// A repository's name as everything that writes wants it: inside a project.
pub(super) fn in_project(name: oci::NameRef<'_>) -> Result<RepoName> {
    if name.repository().is_none() {
        return Err(Error::invalid(
            What::Repository,
            format!("invalid repository name `{name}`: write it as `project/repository`"),
        ));
    }
    Ok(name.owned())
}

impl Granted {
    /// Where a push goes.
    pub(super) fn target(&self, name: oci::NameRef<'_>) -> Result<Target> {
        let project = self.project.ok_or_else(|| {
            Error::Internal(anyhow::anyhow!("a push was let through without a project"))
        })?;
        Ok(Target {
            project,
            name: in_project(name)?,
        })
    }
}
