//! A request from its head to its answer: which face it is for, and on whose task it runs.

use std::{
    convert::Infallible, future::Future, net::IpAddr, panic::AssertUnwindSafe, pin::Pin, sync::Arc,
};

use auth::{Auth, Subject};
use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use hyper::{
    body::{Body as HttpBody, Incoming},
    service::Service,
};
use model::{Error, actor::Actor, time::Timestamp};
use registry::Registry;
use tokio::sync::oneshot;

use crate::{
    access::RequestId,
    app::App,
    body::{Body, RequestBody},
    connection::Connection,
    csrf,
    error::{self, Dialect},
    forwarded, harbor, headers, health,
    measure::Kind,
    notes::{Finish, Notes},
    read_only, token, v2,
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

/// A request as it came. It never changes; what is found out about it stands in `Notes`.
pub(crate) struct Ask {
    pub app: Arc<App>,
    pub head: Parts,
    pub connection: Option<Connection>,
    pub request_id: RequestId,
    /// When its head was read.
    pub time: Timestamp,
}

impl Ask {
    fn new(app: Arc<App>, mut head: Parts) -> Self {
        Self {
            connection: head.extensions.remove::<Connection>(),
            request_id: RequestId::from_header(head.headers.get(headers::REQUEST_ID)),
            time: app.registry.db().clock().now(),
            app,
            head,
        }
    }

    /// Where the client is, behind trusted proxies too.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        let connection = self.connection.as_ref()?;
        forwarded::client(connection, &self.head.headers)
    }

    /// Whether this only reads, of the distribution API or a token: then what was known last will do while the database is away.
    fn only_pulls(&self) -> bool {
        let path = self.head.uri.path();
        matches!(self.head.method, Method::GET | Method::HEAD)
            && (path.starts_with("/v2/") || path == "/service/token")
    }

    /// Who knows who asks and what he may, for this request.
    pub(crate) fn auth(&self) -> Auth {
        if self.only_pulls() {
            self.app.auth.or_last_known()
        } else {
            self.app.auth.clone()
        }
    }

    /// Whoever asks, as the audit names him.
    pub(crate) fn actor(&self, subject: &Subject) -> Arc<Actor> {
        let name = subject.name().unwrap_or(Actor::ANONYMOUS);
        Arc::new(Actor::new(name, self.client()))
    }

    /// The registry, to be changed by whoever asks.
    pub(crate) fn registry(&self, subject: &Subject) -> Registry {
        self.app.registry.by(self.actor(subject))
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.head
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    }

    pub(crate) fn query(&self) -> &str {
        self.head.uri.query().unwrap_or_default()
    }

    /// Whether the client speaks https, to us or to a proxy before us.
    pub(crate) fn is_https(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| {
            let origin = forwarded::origin(connection, &self.head.uri, &self.head.headers);
            origin.scheme == forwarded::Scheme::Https
        })
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
    let (head, body) = request.into_parts();
    let body = RequestBody::new(body, app.config.body_idle);
    let mut finish = Box::new(Finish::begin(Arc::new(Ask::new(app, head)), body.counter()));
    let Finish { ask, notes, .. } = &mut *finish;
    // A bug in one handler is one answer's 500, on every protocol alike.
    let answered = AssertUnwindSafe(check_and_dispatch(ask, notes, body))
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
    if let Some(node) = &ask.app.config.node {
        response.headers_mut().insert(headers::NODE, node.clone());
    }
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

async fn check_and_dispatch(
    ask: &Arc<Ask>,
    notes: &mut Notes,
    body: RequestBody,
) -> Response<Body> {
    let checked = match csrf::check(ask) {
        Ok(checked) => checked,
        Err(refused) => {
            notes.kind = Kind::Api;
            return *refused;
        }
    };
    let mut response = dispatch(ask, notes, body).await;
    if let Some(cookie) = notes.renewed.take() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    if let Some(checked) = checked {
        checked.attach(ask, &mut response);
    }
    response
}

async fn dispatch(ask: &Arc<Ask>, notes: &mut Notes, body: RequestBody) -> Response<Body> {
    let path = ask.head.uri.path();
    let metrics_only = ask
        .connection
        .as_ref()
        .is_some_and(|connection| connection.metrics_only);
    if let Some(refused) = read_only::refused(ask).await {
        return refused;
    }
    if !metrics_only && (path.starts_with("/v2/") || path == "/v2") {
        return v2::serve(ask, notes, body).await;
    }
    if !metrics_only && let Some(response) = Box::pin(harbor::serve(ask, notes, body)).await {
        return response;
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
