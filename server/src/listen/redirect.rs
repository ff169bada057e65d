//! The answers of a listener with `redirect = "https"`, and their lines in the access log.

use std::time::Duration;

use api::{
    access::{AccessLog, AccessRecord, RequestId},
    connection::Connection,
    forwarded::{self, Origin, Scheme},
};
use hyper::{
    Method, Request, Response, StatusCode, Uri, Version,
    body::Bytes,
    header::{self, HeaderValue},
};
use model::time::Clock;

const NO_HOST: &[u8] = br#"{"errors":[{"code":"UNSUPPORTED","message":"this port sends clients to https, and the request names no usable host: ask with https"}]}"#;

/// Where clients are sent, and who is told.
#[derive(Clone)]
pub(super) struct Redirects {
    /// The port on https.
    pub(super) port: u16,
    pub(super) access: Option<AccessLog>,
}

impl Redirects {
    /// None for a client that is on https already, since a trusted proxy has ended TLS.
    pub(super) fn answer<B>(
        &self,
        connection: &Connection,
        request: &Request<B>,
    ) -> Option<Response<Bytes>> {
        let origin = forwarded::origin(connection, request.uri(), request.headers());
        if origin.scheme != Scheme::Http {
            return None;
        }
        let id = RequestId::from_header(request.headers().get("x-request-id"));
        let mut answer = to_https(&origin, request.method(), request.uri(), self.port);
        answer.headers_mut().insert("x-request-id", id.header());
        if let Some(access) = &self.access {
            let text = |name| request.headers().get(name)?.to_str().ok();
            access(&AccessRecord {
                time: Clock::default().now(),
                request_id: id.as_str(),
                client: origin.client,
                identity: None,
                method: request.method().as_str(),
                host: text(header::HOST).or_else(|| request.uri().host()),
                path: request.uri().path(),
                route: "redirect",
                project: None,
                repository: None,
                digest: None,
                reference: None,
                status: answer.status().as_u16(),
                bytes_in: 0,
                bytes_out: answer.body().len() as u64,
                duration: Duration::ZERO,
                protocol: if request.version() == Version::HTTP_2 {
                    "HTTP/2"
                } else {
                    "HTTP/1.1"
                },
                user_agent: text(header::USER_AGENT),
                aborted: false,
            });
        }
        Some(answer)
    }
}

/// Sends the client to the same host, path and query on https.
fn to_https(origin: &Origin, method: &Method, uri: &Uri, port: u16) -> Response<Bytes> {
    let location = origin.host.as_ref().and_then(|host| {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let location = if port == Scheme::Https.default_port() {
            format!("https://{}{path}", host.name)
        } else {
            format!("https://{}:{port}{path}", host.name)
        };
        HeaderValue::from_str(&location).ok()
    });
    let Some(location) = location else {
        let mut answer = Response::new(Bytes::from_static(NO_HOST));
        *answer.status_mut() = StatusCode::BAD_REQUEST;
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        return answer;
    };
    let mut answer = Response::new(Bytes::new());
    // Old clients know 301, which may turn a POST into a GET; 308 may not.
    *answer.status_mut() = if method == Method::GET || method == Method::HEAD {
        StatusCode::MOVED_PERMANENTLY
    } else {
        StatusCode::PERMANENT_REDIRECT
    };
    answer.headers_mut().insert(header::LOCATION, location);
    answer
}
