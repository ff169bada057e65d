//! A request from its head to its line in the access log: which face it is for, and what is said of it when it has ended.
//!
//! `Ask` is what was asked and never changes; `Notes` is what is found out on the way. Both stand in the box that writes the
//! line when it is dropped, so that a request whose client went away is told of too.

use std::{
    convert::Infallible,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use auth::Subject;
use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts};
use hyper::{
    body::{Body as HttpBody, Incoming},
    service::Service,
};
use model::{Error, time::Timestamp};
use oci::{Digest, ReferenceRef, route::Route};
use tokio::sync::oneshot;

use crate::{
    access::{AccessRecord, RequestId},
    app::App,
    body::{Body, RequestBody},
    connection::Connection,
    error::{self, Dialect},
    forwarded, headers, health,
    measure::Kind,
    token, v2,
};

/// The HTTP faces as one service.
#[derive(Clone)]
pub struct Api(Arc<App>);

impl Api {
    pub fn new(app: Arc<App>) -> Self {
        Self(app)
    }
}

impl Service<Request<Incoming>> for Api {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let app = self.0.clone();
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            Box::pin(async move { Ok(serve(app, request).await) })
        } else {
            Box::pin(async move { Ok(serve_to_the_end(app, request).await) })
        }
    }
}

/// Serves what may write. It goes on when nobody waits for it any more (the client has gone, or the drain has ended): its body
/// then breaks off, what came of an upload is put aside, and no content stays behind without its row.
async fn serve_to_the_end(app: Arc<App>, request: Request<Incoming>) -> Response<Body> {
    let (tell, told) = oneshot::channel();
    let writes = app.writes.clone();
    writes.spawn(async move {
        if let Err(unheard) = tell.send(serve(app, request).await) {
            unheard.into_body().unheard();
        }
    });
    // The task tells nothing only when the runtime ends before it, and this future with it.
    told.await.unwrap_or_else(|_| {
        let stopped = Error::Unavailable(anyhow::anyhow!("the process ends"));
        error::answer(&stopped, Dialect::Harbor, "")
    })
}

/// A request as it came.
pub(crate) struct Ask {
    pub app: Arc<App>,
    pub head: Parts,
    pub connection: Option<Connection>,
    pub request_id: RequestId,
    /// When its head was read.
    pub time: Timestamp,
}

/// What is found out about a request, for the access log and metrics.
pub(crate) struct Notes {
    pub kind: Kind,
    /// Who asked, once that is known.
    pub subject: Subject,
    /// What it is about: named by it, or found behind its tag.
    pub digest: Option<Digest>,
    /// How long the repository's name is, which stands after `/v2/`.
    name: usize,
    /// How long the tag is, which stands at the path's end.
    tag: usize,
}

impl Ask {
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.head
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    }

    pub(crate) fn query(&self) -> &str {
        self.head.uri.query().unwrap_or_default()
    }

    /// Where the client believes to be: `https://host`, for realms. `None` when it sent no usable host.
    pub(crate) fn base_url(&self) -> Option<String> {
        if let Some(url) = &self.app.config.external_url {
            return Some(url.clone());
        }
        let connection = self.connection.as_ref()?;
        forwarded::origin(connection, &self.head.uri, &self.head.headers).base_url()
    }
}

impl Notes {
    fn new() -> Self {
        Self {
            kind: Kind::Unknown,
            subject: Subject::Anonymous,
            digest: None,
            name: 0,
            tag: 0,
        }
    }

    /// What the path of a request under `/v2` names.
    pub(crate) fn names(&mut self, route: &Route<'_>) {
        self.name = route.name().map_or(0, |name| name.as_str().len());
        match route {
            Route::Manifest {
                reference: ReferenceRef::Tag(tag),
                ..
            } => self.tag = tag.as_str().len(),
            Route::Manifest {
                reference: ReferenceRef::Digest(digest),
                ..
            }
            | Route::Blob { digest, .. }
            | Route::Referrers { digest, .. } => self.digest = Some(*digest),
            _ => {}
        }
    }

    fn repository<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix("/v2/")?
            .get(..self.name)
            .filter(|name| !name.is_empty())
    }

    fn tag<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.get(path.len().checked_sub(self.tag)?..)
            .filter(|tag| !tag.is_empty())
    }
}

async fn serve(app: Arc<App>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = RequestBody::new(body, app.config.body_idle);
    let mut finish = Box::new(Finish::begin(app, head, body.counter()));
    let Finish { ask, notes, .. } = &mut *finish;
    // A bug in one handler is one answer's 500, on every protocol alike.
    let answered = AssertUnwindSafe(dispatch(ask, notes, body))
        .catch_unwind()
        .await;
    let mut response = answered.unwrap_or_else(|_| {
        let bug = Error::Internal(anyhow::anyhow!("a handler panicked"));
        error::answer(&bug, Dialect::Harbor, ask.request_id.as_str())
    });
    if ask.head.method == Method::HEAD {
        leave_out_body(&mut response);
    }
    response
        .headers_mut()
        .insert(headers::REQUEST_ID, ask.request_id.header());
    finish.status = response.status();
    response.body_mut().attach(finish);
    response
}

/// HEAD tells the length of what GET would send. Over HTTP/2 a body that is there is sent, and clients call that a broken stream.
fn leave_out_body(response: &mut Response<Body>) {
    let body = std::mem::replace(response.body_mut(), Body::empty());
    if let Some(length @ 1..) = body.size_hint().exact() {
        response
            .headers_mut()
            .entry(header::CONTENT_LENGTH)
            .or_insert_with(|| HeaderValue::from(length));
    }
}

async fn dispatch(ask: &Ask, notes: &mut Notes, body: RequestBody) -> Response<Body> {
    let path = ask.head.uri.path();
    let metrics_only = ask
        .connection
        .as_ref()
        .is_some_and(|connection| connection.metrics_only);
    if !metrics_only && (path.starts_with("/v2/") || path == "/v2") {
        return v2::serve(ask, notes, body).await;
    }
    let (kind, face): (_, fn(&Ask) -> Response<Body>) = match path {
        "/livez" => (Kind::Live, health::live),
        "/readyz" => (Kind::Ready, health::ready),
        "/metrics" => {
            notes.kind = Kind::Metrics;
            return health::metrics(ask, notes).await;
        }
        "/service/token" if !metrics_only => {
            notes.kind = Kind::Token;
            return token::serve(ask, notes).await;
        }
        "/" if !metrics_only => (Kind::Root, root),
        _ => (Kind::Unknown, nothing_here),
    };
    notes.kind = kind;
    if matches!(ask.head.method, Method::GET | Method::HEAD) || kind == Kind::Unknown {
        face(ask)
    } else {
        error::method_not_allowed("GET, HEAD")
    }
}

fn root(_: &Ask) -> Response<Body> {
    let mut response = Response::new(Body::whole(
        "This is a Seawall container registry. Log in with: docker login <this host>\n",
    ));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn nothing_here(ask: &Ask) -> Response<Body> {
    let path: String = ask.head.uri.path().chars().take(200).collect();
    error::plain(
        StatusCode::NOT_FOUND,
        "NOT_FOUND",
        &format!("path {path} was not found"),
    )
}

/// A request on its way to its line in the access log, which is written when this is dropped.
pub(crate) struct Finish {
    started: Instant,
    /// What is logged when there is no answer: the client went away (nginx's number for it).
    status: StatusCode,
    read: Option<Arc<AtomicU64>>,
    sent: u64,
    aborted: bool,
    ask: Ask,
    notes: Notes,
}

impl Finish {
    fn begin(app: Arc<App>, mut head: Parts, read: Option<Arc<AtomicU64>>) -> Self {
        let ask = Ask {
            connection: head.extensions.remove::<Connection>(),
            request_id: RequestId::from_header(head.headers.get(headers::REQUEST_ID)),
            time: app.registry.db().clock().now(),
            app,
            head,
        };
        Self {
            started: Instant::now(),
            status: StatusCode::from_u16(499).expect("a status has three digits"),
            read,
            sent: 0,
            aborted: true,
            ask,
            notes: Notes::new(),
        }
    }

    /// The answer has ended, whole or cut.
    pub(crate) fn end(mut self: Box<Self>, sent: u64, cut: bool) {
        self.sent = sent;
        self.aborted = cut && self.ask.head.method != Method::HEAD;
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let (ask, notes) = (&self.ask, &self.notes);
        let duration = self.started.elapsed();
        let read = self.read.as_ref();
        let received = read.map_or(0, |read| read.load(Ordering::Relaxed));
        ask.app
            .measures
            .count(notes.kind, self.status, duration, received, self.sent);
        let Some(access) = &ask.app.access else {
            return;
        };
        let path = ask.head.uri.path();
        let repository = notes.repository(path);
        let digest = notes.digest.map(|digest| digest.to_string());
        access(&AccessRecord {
            time: ask.time,
            request_id: ask.request_id.as_str(),
            client: ask
                .connection
                .as_ref()
                .and_then(|connection| forwarded::client(connection, &ask.head.headers)),
            identity: notes.subject.name(),
            method: ask.head.method.as_str(),
            host: ask.header(header::HOST).or_else(|| ask.head.uri.host()),
            path,
            route: notes.kind.as_str(),
            project: repository.and_then(|name| name.split('/').next()),
            repository,
            digest: digest.as_deref(),
            reference: notes.tag(path),
            status: self.status.as_u16(),
            bytes_in: received,
            bytes_out: self.sent,
            duration,
            protocol: if ask.head.version == Version::HTTP_2 {
                "HTTP/2"
            } else {
                "HTTP/1.1"
            },
            user_agent: ask.header(header::USER_AGENT),
            aborted: self.aborted,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(body: &'static str, length: Option<&'static str>) -> (Option<HeaderValue>, bool) {
        let mut response = Response::new(Body::whole(body));
        if let Some(length) = length {
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        leave_out_body(&mut response);
        (
            response.headers().get(header::CONTENT_LENGTH).cloned(),
            response.body().is_end_stream(),
        )
    }

    #[test]
    fn the_log_finds_name_and_tag_in_the_path() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (path, repository, tag, has_digest) in [
            ("/v2/", None, None, false),
            ("/v2/_catalog", None, None, false),
            ("/v2/a/b/c/tags/list", Some("a/b/c"), None, false),
            ("/v2/a/b/manifests/v1.2", Some("a/b"), Some("v1.2"), false),
            (
                &format!("/v2/a/b/manifests/{digest}"),
                Some("a/b"),
                None,
                true,
            ),
            (&format!("/v2/a/b/blobs/{digest}"), Some("a/b"), None, true),
        ] {
            let mut notes = Notes::new();
            notes.names(&oci::route::parse("GET", path).expect("a route"));
            assert_eq!(
                (
                    notes.repository(path),
                    notes.tag(path),
                    notes.digest.is_some()
                ),
                (repository, tag, has_digest),
                "{path}"
            );
        }
    }

    #[test]
    fn head_tells_the_length_and_sends_nothing() {
        assert_eq!(
            head_of("{}", None),
            (Some(HeaderValue::from_static("2")), true)
        );
        assert_eq!(
            head_of("", Some("1523")),
            (Some(HeaderValue::from_static("1523")), true)
        );
        assert_eq!(head_of("", None), (None, true));
    }
}
