//! Calls of our own, beside those of the crate `object_store`: signed anew and repeated for as long as the store is expected back.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use object_store::{
    PutPayload,
    aws::{AwsAuthorizer, AwsCredentialProvider},
    client::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody},
};

use super::fault::{Refusal, fault};
use crate::{Error, Result};

/// The most that is read of an answer: a page of long keys.
const ANSWER: usize = 8 << 20;

/// Who calls one bucket.
pub(crate) struct Sender {
    pub(crate) wire: HttpClient,
    pub(crate) signs: Signs,
    /// What keys are appended to, with a slash between: scheme, host and, where it does not stand in the host, the bucket.
    pub(crate) url: String,
    /// How long a call is repeated.
    pub(crate) patience: Duration,
}

/// What makes a request ours.
pub(crate) enum Signs {
    Aws {
        credentials: AwsCredentialProvider,
        region: String,
        /// Whether bodies are signed too; not where TLS protects them.
        bodies: bool,
    },
}

/// One call. Whatever it does, doing it twice does no more.
pub(crate) struct Call<'a> {
    /// As told in errors: "complete".
    pub(crate) what: &'static str,
    pub(crate) method: Method,
    /// Whole, with the bucket's prefix; empty for the bucket itself.
    pub(crate) key: &'a str,
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) headers: &'a [(&'static str, &'a str)],
    pub(crate) body: PutPayload,
}

impl<'a> Call<'a> {
    /// With nothing but a query.
    pub(crate) fn new(
        what: &'static str,
        method: Method,
        key: &'a str,
        query: &'a [(&'a str, &'a str)],
    ) -> Self {
        Self {
            what,
            method,
            key,
            query,
            headers: &[],
            body: PutPayload::new(),
        }
    }
}

pub(crate) struct Answer {
    #[expect(dead_code, reason = "S3's say nothing that is needed; others' do")]
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Sender {
    /// Repeats what may do with a repetition, signed anew each time.
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Answer> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            let failed = match self.send_once(&call).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if !failed.passes() || begun.elapsed() + pause > self.patience {
                return Err(failed.into_error(call.what, call.key));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    async fn send_once(&self, call: &Call<'_>) -> Result<Answer, Failed> {
        let mut uri = format!("{}/{}", self.url, encoded(call.key, true));
        for (n, (name, value)) in call.query.iter().enumerate() {
            uri.push(if n == 0 { '?' } else { '&' });
            let _ = write!(uri, "{name}={}", encoded(value, false));
        }
        // In one piece it can be signed.
        let body = match call.body.as_ref() {
            [] => HttpRequestBody::empty(),
            [whole] => whole.clone().into(),
            _ => call.body.clone().into(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = uri.parse().map_err(|_| Failed::said("not an address"))?;
        for (name, value) in call.headers {
            let value = HeaderValue::from_str(value);
            let value = value.map_err(|_| Failed::said("not a header"))?;
            request.headers_mut().insert(*name, value);
        }
        // Ceph and Swift want it also where it is 0.
        let length = HeaderValue::from(call.body.content_length());
        request.headers_mut().insert(header::CONTENT_LENGTH, length);
        self.signs.sign(&mut request).await?;
        let (head, body) = self.wire.execute(request).await?.into_parts();
        let mut body = body.bytes_stream();
        let mut whole = Vec::new();
        while let Some(bytes) = body.try_next().await? {
            if whole.len() + bytes.len() > ANSWER {
                return Err(Failed::said("the answer is too long"));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(Answer {
            headers: head.headers,
            body: whole.into(),
        })
    }
}

impl Signs {
    async fn sign(&self, request: &mut HttpRequest) -> Result<(), Failed> {
        match self {
            Self::Aws {
                credentials,
                region,
                bodies,
            } => {
                let credential = credentials.get_credential().await?;
                AwsAuthorizer::new(&credential, "s3", region)
                    .with_sign_payload(*bodies)
                    .try_authorize(request, None)?;
            }
        }
        Ok(())
    }
}

/// Why a call did not go through.
enum Failed {
    Http(HttpError),
    /// The credentials, or the signing.
    Library(object_store::Error),
    Said(&'static str),
}

impl Failed {
    fn said(why: &'static str) -> Self {
        Self::Said(why)
    }

    fn passes(&self) -> bool {
        match self {
            Self::Http(error) => match Refusal::find(error) {
                Some(refusal) => refusal.passes(),
                None => !matches!(error.kind(), HttpErrorKind::Unknown | HttpErrorKind::Decode),
            },
            Self::Library(_) | Self::Said(_) => false,
        }
    }

    fn into_error(self, what: &'static str, key: &str) -> Error {
        match self {
            Self::Http(error) => fault(what, key, &error),
            Self::Library(error) => fault(what, key, &error),
            Self::Said(why) => Error::Remote {
                what,
                key: key.to_owned(),
                why: why.to_owned(),
                is_ours: false,
            },
        }
    }
}

impl From<HttpError> for Failed {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

impl From<object_store::Error> for Failed {
    fn from(error: object_store::Error) -> Self {
        Self::Library(error)
    }
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
