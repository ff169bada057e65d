//! One exchange with Swift or Keystone, over the wire that all vendors share.

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use object_store::{
    PutPayload,
    client::{HttpClient, HttpError, HttpErrorKind, HttpRequestBody, HttpResponse},
};

use super::super::fault::Refusal;

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
    let length = question.body.content_length();
    let body = match question.body.as_ref() {
        [] => HttpRequestBody::empty(),
        [whole] => whole.clone().into(),
        _ => question.body.into(),
    };
    let mut request = Request::new(body);
    *request.method_mut() = question.method;
    *request.uri_mut() = question.url.parse().map_err(|_| said("not an address"))?;
    for (name, value) in &question.headers {
        let mut value = HeaderValue::from_str(value).map_err(|_| said("not a header"))?;
        value.set_sensitive(true);
        let name = HeaderName::from_static(name);
        request.headers_mut().insert(name, value);
    }
    // Some want it also where it is 0.
    let length = HeaderValue::from(length);
    request.headers_mut().insert(header::CONTENT_LENGTH, length);
    wire.execute(request).await
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
        Some(refusal) => refusal.passes() || refusal.status.as_u16() == 507,
        None => !matches!(error.kind(), HttpErrorKind::Unknown | HttpErrorKind::Decode),
    }
}

pub(crate) fn status(error: &HttpError) -> Option<u16> {
    Refusal::find(error).map(|refusal| refusal.status.as_u16())
}
