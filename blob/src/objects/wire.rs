//! How the crate `object_store` and our own calls reach a store: through `outbound`, so that the trust store and the proxies
//! are everybody's. A refusal becomes an error that says what was refused and whether to ask again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
        HttpResponseBody, HttpService,
    },
};
use outbound::{Limits, Outbound};

use super::{fault::Refusal, swift::words};

/// The most that is read of a refusal.
const REFUSAL: usize = 64 << 10;
/// Stores refuse what is signed by a clock further off than a quarter of an hour.
const SKEW: Duration = Duration::from_mins(5);

#[derive(Clone)]
pub(crate) struct Wire {
    outbound: Outbound,
    /// Whether it was said that the clocks are far apart.
    is_skewed: Arc<AtomicBool>,
}

impl Wire {
    pub(crate) fn new(outbound: Outbound) -> Self {
        Self {
            outbound,
            is_skewed: Arc::default(),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is about the machine's own clock, by which calls are signed"
    )]
    fn look_at_clock(&self, headers: &HeaderMap) {
        let date = headers.get(header::DATE).and_then(|v| v.to_str().ok());
        let Some(there) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else {
            return;
        };
        let here = SystemTime::now();
        let off = here
            .duration_since(there)
            .unwrap_or_else(|error| error.duration());
        let was = self.is_skewed.swap(off > SKEW, Ordering::Relaxed);
        if off > SKEW && !was {
            tracing::warn!(
                seconds = off.as_secs(),
                "this machine's clock and the object store's are far apart: it will refuse what is signed here"
            );
        }
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let client = self.outbound.client(Limits::STORE).await.map_err(lost)?;
        let (head, body) = request.into_parts();
        let url = head
            .uri
            .to_string()
            .parse()
            .map_err(|error: url::ParseError| HttpError::new(HttpErrorKind::Unknown, error))?;
        let mut request = reqwest::Request::new(head.method, url);
        *request.headers_mut() = head.headers;
        *request.body_mut() = Some(reqwest::Body::wrap(body));
        let answer = client.execute(request).await.map_err(lost)?;
        let (head, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
        self.look_at_clock(&head.headers);
        // No call asks for less, and no redirect is followed: its signature would not hold there.
        if !head.status.is_success() {
            let refusal = read_refusal(head.status, &head.headers, body).await;
            // How often the crate repeats a call goes by this.
            let kind = if refusal.passes() {
                HttpErrorKind::Request
            } else {
                HttpErrorKind::Unknown
            };
            return Err(HttpError::new(kind, refusal));
        }
        let body = HttpResponseBody::new(body.map_err(lost));
        Ok(HttpResponse::from_parts(head, body))
    }
}

async fn read_refusal(status: StatusCode, headers: &HeaderMap, body: reqwest::Body) -> Refusal {
    let mut text = Vec::new();
    let mut frames = body.into_data_stream();
    while let Ok(Some(bytes)) = frames.try_next().await {
        let room = REFUSAL - text.len();
        text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if text.len() >= REFUSAL {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let named = headers.get("x-ms-error-code").and_then(|v| v.to_str().ok());
    Refusal {
        status,
        code: named
            .map(str::to_owned)
            .or_else(|| element(&text, "Code"))
            .or_else(|| words::code(&text)),
        message: element(&text, "Message").or_else(|| words::message(&text)),
    }
}

/// Refusals are one flat element; not worth failing over one that is not quite XML.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner.trim().chars().take(300).collect())
}

fn lost(error: reqwest::Error) -> HttpError {
    let kind = if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_timeout() {
        HttpErrorKind::Timeout
    } else {
        HttpErrorKind::Interrupted
    };
    // The address may carry a signature.
    HttpError::new(kind, error.without_url())
}
