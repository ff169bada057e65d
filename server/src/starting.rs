//! What is served while the registry is being opened, which takes long where a large database is migrated: that the process
//! lives, and that everything else has to wait. From then on every request goes to the registry.

use std::{
    convert::Infallible,
    future::{self, Future},
    pin::Pin,
    sync::{Arc, OnceLock},
};

use api::{Api, body::Body, error};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, service::Service};

/// The faces, as soon as they can be served.
#[derive(Clone, Default)]
pub struct Front(Arc<OnceLock<Api>>);

impl Front {
    /// From now on requests go to the registry.
    pub fn open(&self, api: Api) {
        // There is one start.
        let _ = self.0.set(api);
    }
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        match self.0.get() {
            Some(api) => api.call(request),
            None => Box::pin(future::ready(Ok(meanwhile(request.uri().path())))),
        }
    }
}

fn meanwhile(path: &str) -> Response<Body> {
    let mut answer = match path {
        "/livez" => return Response::new(Body::whole("ok\n")),
        "/readyz" => {
            let mut answer = Response::new(Body::whole(r#"{"status":"starting"}"#));
            let json = HeaderValue::from_static("application/json");
            answer.headers_mut().insert(header::CONTENT_TYPE, json);
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            answer
        }
        _ => error::plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "UNKNOWN",
            "the registry is starting: try again shortly",
        ),
    };
    let headers = answer.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
