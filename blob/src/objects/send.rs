//! Calls of our own, beside those of the crate `object_store`: signed anew and repeated for as long as the store is expected back.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use object_store::{
    PutPayload,
    aws::{AwsAuthorizer, AwsCredentialProvider},
    azure::{AzureAuthorizer, AzureCredentialProvider},
    client::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody},
    gcp::GcpCredentialProvider,
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
    Azure {
        credentials: AzureCredentialProvider,
        account: String,
    },
    Google(GcpCredentialProvider),
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
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Sender {
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Answer> {
        let (what, key) = (call.what, call.key);
        let sent = self.try_send(call).await;
        sent.map_err(|failed| failed.into_error(what, key))
    }

    /// Repeats what may do with a repetition, signed anew each time.
    pub(crate) async fn try_send(&self, call: Call<'_>) -> Result<Answer, Failed> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            let failed = match self.send_once(&call).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if !failed.passes() || begun.elapsed() + pause > self.patience {
                return Err(failed);
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
            Self::Azure {
                credentials,
                account,
            } => {
                let credential = credentials.get_credential().await?;
                AzureAuthorizer::new(&credential, account).try_authorize(request)?;
            }
            Self::Google(credentials) => {
                let credential = credentials.get_credential().await?;
                let bearer = HeaderValue::from_str(&format!("Bearer {}", credential.bearer));
                let mut bearer = bearer.map_err(|_| Failed::said("the token is not a header"))?;
                bearer.set_sensitive(true);
                request.headers_mut().insert(header::AUTHORIZATION, bearer);
            }
        }
        Ok(())
    }
}

/// Why a call did not go through.
pub(crate) enum Failed {
    Http(HttpError),
    /// The credentials, or the signing.
    Library(object_store::Error),
    Said(&'static str),
}

impl Failed {
    fn said(why: &'static str) -> Self {
        Self::Said(why)
    }

    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Http(error) => Refusal::find(error),
            Self::Library(_) | Self::Said(_) => None,
        }
    }

    /// What the store answered, if it did.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        Some(self.refusal()?.status)
    }

    /// Whether the store said one of these.
    pub(crate) fn is(&self, codes: &[&str]) -> bool {
        self.refusal().is_some_and(|refusal| refusal.is(codes))
    }

    fn passes(&self) -> bool {
        match self {
            Self::Http(error) => match self.refusal() {
                Some(refusal) => refusal.passes(),
                None => !matches!(error.kind(), HttpErrorKind::Unknown | HttpErrorKind::Decode),
            },
            Self::Library(_) | Self::Said(_) => false,
        }
    }

    pub(crate) fn into_error(self, what: &'static str, key: &str) -> Error {
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
