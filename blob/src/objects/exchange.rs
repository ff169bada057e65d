//! One exchange of our own with a store or with who gives its tokens, over the wire that all vendors share; and for how long it is
//! tried again.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use object_store::{
    PutPayload,
    client::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse},
};

use super::fault::Refusal;

/// How long an upload waits for a store that is away.
pub(crate) const PATIENT: Duration = Duration::from_secs(45);
/// How long a pull does.
pub(crate) const QUICK: Duration = Duration::from_secs(8);

/// The most that is read of an answer: a page of a list, a catalog.
const ANSWER: usize = 8 << 20;

/// What is asked. Whatever it does, doing it twice does no more.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: PutPayload,
}

impl Question {
    pub(crate) fn new(method: Method, url: String) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            body: PutPayload::new(),
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: PutPayload) -> Self {
        self.body = body;
        self
    }

    /// As it is sent, but for what makes it ours.
    pub(crate) fn request(self) -> Result<HttpRequest, HttpError> {
        let length = HeaderValue::from(self.body.content_length());
        // In one piece it can be signed.
        let body = match self.body.as_ref() {
            [] => HttpRequestBody::empty(),
            [whole] => whole.clone().into(),
            _ => self.body.into(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.url.parse().map_err(|_| said("not an address"))?;
        for (name, value) in &self.headers {
            let mut value = HeaderValue::from_str(value).map_err(|_| said("not a header"))?;
            value.set_sensitive(true);
            let name = HeaderName::from_static(name);
            request.headers_mut().insert(name, value);
        }
        // Ceph and Swift want it also where it is 0.
        request.headers_mut().insert(header::CONTENT_LENGTH, length);
        Ok(request)
    }
}

/// An address with its parameters, in this order.
pub(crate) fn address(mut url: String, query: &[(&str, &str)]) -> String {
    for (n, (name, value)) in query.iter().enumerate() {
        url.push(if n == 0 { '?' } else { '&' });
        let _ = write!(url, "{name}={}", encoded(value, false));
    }
    url
}

/// As signatures want it: all but the unreserved characters of RFC 3986, and in paths the slash.
pub(crate) fn encoded(text: &str, is_path: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(byte as char);
            }
            b'/' if is_path => out.push('/'),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// An answer that was read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Empty where there is none, or none that is text.
    pub(crate) fn header(&self, name: &str) -> &str {
        text(&self.headers, name)
    }
}

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// The head of an answer; a refusal is an error.
pub(crate) async fn ask(wire: &HttpClient, question: Question) -> Result<HttpResponse, HttpError> {
    wire.execute(question.request()?).await
}

/// An answer whole.
pub(crate) async fn ask_whole(wire: &HttpClient, question: Question) -> Result<Answer, HttpError> {
    whole(ask(wire, question).await?).await
}

pub(crate) async fn whole(answer: HttpResponse) -> Result<Answer, HttpError> {
    let (head, body) = answer.into_parts();
    let mut body = body.bytes_stream();
    let mut whole = Vec::new();
    while let Some(bytes) = body.try_next().await? {
        if whole.len() + bytes.len() > ANSWER {
            return Err(said("the answer is too long"));
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(Answer {
        headers: head.headers,
        body: whole.into(),
    })
}

/// An error of our own words, which no repetition helps.
pub(crate) fn said(why: impl Into<String>) -> HttpError {
    HttpError::new(HttpErrorKind::Decode, std::io::Error::other(why.into()))
}

/// Whether asking again, after a while, may do.
pub(crate) fn passes(error: &HttpError) -> bool {
    match Refusal::find(error) {
        Some(refusal) => refusal.passes(),
        None => !matches!(error.kind(), HttpErrorKind::Unknown | HttpErrorKind::Decode),
    }
}

pub(crate) fn status(error: &HttpError) -> Option<u16> {
    Refusal::find(error).map(|refusal| refusal.status.as_u16())
}

/// How long something is tried again.
pub(crate) struct Patience {
    begun: Instant,
    pause: Duration,
    lasts: Duration,
}

impl Patience {
    pub(crate) fn new(lasts: Duration) -> Self {
        Self {
            begun: Instant::now(),
            pause: Duration::from_millis(100),
            lasts,
        }
    }

    /// Waits before the next try; false when this has lasted too long.
    pub(crate) async fn waits(&mut self) -> bool {
        if self.begun.elapsed() + self.pause > self.lasts {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Duration::from_secs(5));
        true
    }
}
