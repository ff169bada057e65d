//! The answer of a listener with `redirect = "https"`.

use api::forwarded::{Origin, Scheme};
use hyper::{
    Method, Response, StatusCode, Uri,
    header::{self, HeaderValue},
};

/// Sends the client to the same host, path and query on https.
pub(super) fn to_https(origin: &Origin, method: &Method, uri: &Uri, port: u16) -> Response<()> {
    let mut answer = Response::new(());
    let location = origin.host.as_ref().and_then(|host| {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let location = if port == Scheme::Https.default_port() {
            format!("https://{}{path}", host.name)
        } else {
            format!("https://{}:{port}{path}", host.name)
        };
        HeaderValue::from_str(&location).ok()
    });
    *answer.status_mut() = match &location {
        // Old clients know 301, which may turn a POST into a GET; 308 may not.
        Some(_) if method == Method::GET || method == Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        Some(_) => StatusCode::PERMANENT_REDIRECT,
        None => StatusCode::BAD_REQUEST,
    };
    if let Some(location) = location {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    answer
}
