//! A request from its head to its line in the access log: which face it is for, and what is said of it when it has ended.

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

use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts};
use hyper::{
    body::{Body as HttpBody, Incoming},
    service::Service,
};
use model::{Error, time::Timestamp};
use oci::route::{self, Route};

use crate::{
    access::{AccessRecord, RequestId},
    app::App,
    body::{Body, RequestBody},
    connection::Connection,
    error::{self, Dialect},
    forwarded, health, token, v2,
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
        Box::pin(async move { Ok(serve(app, request).await) })
    }
}

/// A request while it is answered.
pub(crate) struct Ask {
    pub app: Arc<App>,
    pub head: Parts,
    pub connection: Option<Connection>,
    pub request_id: RequestId,
    /// Who asked, once that is known; for the access log.
    pub identity: Option<Arc<str>>,
    /// The kind of request, for the access log and metrics.
    pub route: &'static str,
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

async fn serve(app: Arc<App>, request: Request<Incoming>) -> Response<Body> {
    let started = Instant::now();
    let time = app.registry.db().clock().now();
    let (mut head, body) = request.into_parts();
    let connection = head.extensions.remove::<Connection>();
    let request_id =
        RequestId::from_header(head.headers.get("x-request-id").map(HeaderValue::as_bytes));
    let body = RequestBody::new(body, app.config.body_idle);
    let read = body.counter();
    let mut ask = Ask {
        app,
        head,
        connection,
        request_id,
        identity: None,
        route: "unknown",
    };
    // A bug in one handler is one answer's 500, on every protocol alike.
    let answered = AssertUnwindSafe(dispatch(&mut ask, body))
        .catch_unwind()
        .await;
    let mut response = answered.unwrap_or_else(|_| {
        let bug = Error::Internal(anyhow::anyhow!("a handler panicked"));
        error::answer(&bug, Dialect::Harbor, ask.request_id.as_str())
    });
    if ask.head.method == Method::HEAD {
        leave_out_body(&mut response);
    }
    if let Ok(id) = HeaderValue::from_str(ask.request_id.as_str()) {
        response.headers_mut().insert("x-request-id", id);
    }
    let finish = Finish {
        started,
        time,
        status: response.status(),
        read,
        ask,
    };
    response.body_mut().attach(Box::new(finish));
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

async fn dispatch(ask: &mut Ask, body: RequestBody) -> Response<Body> {
    let path = ask.head.uri.path();
    let metrics_only = ask
        .connection
        .as_ref()
        .is_some_and(|connection| connection.metrics_only);
    if !metrics_only && (path.starts_with("/v2/") || path == "/v2") {
        return v2::serve(ask, body).await;
    }
    let reads = matches!(ask.head.method, Method::GET | Method::HEAD);
    let (route, face): (_, fn(&Ask) -> Response<Body>) = match path {
        "/livez" => ("health.live", health::live),
        "/readyz" => ("health.ready", health::ready),
        "/metrics" => {
            ask.route = "metrics";
            return health::metrics(ask).await;
        }
        "/service/token" if !metrics_only => {
            ask.route = "token";
            return token::serve(ask).await;
        }
        "/" if !metrics_only => ("root", root),
        _ => ("unknown", nothing_here),
    };
    ask.route = route;
    if reads || route == "unknown" {
        face(ask)
    } else {
        error::plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            "use GET or HEAD here",
        )
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

/// What is said of a request when its answer has ended.
pub(crate) struct Finish {
    started: Instant,
    time: Timestamp,
    status: StatusCode,
    read: Arc<AtomicU64>,
    ask: Ask,
}

impl Finish {
    /// Writes the access log's line and counts the request.
    pub(crate) fn log(self, sent: u64, cut: bool) {
        let Self {
            started,
            time,
            status,
            read,
            ask,
        } = self;
        let duration = started.elapsed();
        let bytes_in = read.load(Ordering::Relaxed);
        metrics::histogram!("seawall_request_duration_seconds", "route" => ask.route)
            .record(duration.as_secs_f64());
        metrics::counter!("seawall_requests_total", "route" => ask.route, "status" => class(status)).increment(1);
        metrics::counter!("seawall_request_bytes_total").increment(bytes_in);
        metrics::counter!("seawall_response_bytes_total").increment(sent);
        let Some(access) = &ask.app.access else {
            return;
        };
        let path = ask.head.uri.path();
        let route = route::parse(ask.head.method.as_str(), path).ok();
        let name = route.as_ref().and_then(Route::name);
        let (digest, reference) = told(route.as_ref());
        access(&AccessRecord {
            time,
            request_id: ask.request_id.as_str(),
            client: ask
                .connection
                .as_ref()
                .and_then(|connection| forwarded::client(connection, &ask.head.headers)),
            identity: ask.identity.as_deref(),
            method: ask.head.method.as_str(),
            host: ask.header(header::HOST).or_else(|| ask.head.uri.host()),
            path,
            route: ask.route,
            project: name.as_ref().map(oci::RepoName::project),
            repository: name.as_ref().map(oci::RepoName::as_str),
            digest: digest.as_deref(),
            reference,
            status: status.as_u16(),
            bytes_in,
            bytes_out: sent,
            duration,
            protocol: if ask.head.version == Version::HTTP_2 {
                "HTTP/2"
            } else {
                "HTTP/1.1"
            },
            user_agent: ask.header(header::USER_AGENT),
            aborted: cut && ask.head.method != Method::HEAD,
        });
    }
}

/// Digest and tag as the path names them.
fn told<'r>(route: Option<&'r Route<'_>>) -> (Option<String>, Option<&'r str>) {
    match route {
        Some(Route::Manifest {
            reference: oci::ReferenceRef::Tag(tag),
            ..
        }) => (None, Some(tag.as_str())),
        Some(
            Route::Manifest {
                reference: oci::ReferenceRef::Digest(digest),
                ..
            }
            | Route::Blob { digest, .. }
            | Route::Referrers { digest, .. },
        ) => (Some(digest.to_string()), None),
        _ => (None, None),
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
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
