//! The calls of S3 that the crate `object_store` lacks: completing with the numbers that parts have,
//! and lists that no foreign key can break.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use object_store::{
    aws::{AwsAuthorizer, AwsCredentialProvider},
    client::{HttpClient, HttpError, HttpErrorKind, HttpRequestBody},
};
use serde::Deserialize;

use super::{
    bucket::{Begun, Object, Page},
    fault::{Refusal, fault},
    progress::Part,
};
use crate::{Error, Result};

/// A page of a list; what vendors allow at most.
const PAGE: &str = "1000";
/// The most that is read of an answer: a page of long keys.
const ANSWER: usize = 8 << 20;

pub(crate) struct Calls {
    pub(crate) wire: HttpClient,
    pub(crate) credentials: AwsCredentialProvider,
    pub(crate) region: String,
    /// Whether bodies are signed too; not where TLS protects them.
    pub(crate) signs_bodies: bool,
    /// Scheme, host and, with path style, the bucket; no slash at the end.
    pub(crate) url: String,
    pub(crate) patience: Duration,
}

impl Calls {
    /// Makes one object of parts. An error does not say that it was not done.
    pub(crate) async fn complete(&self, key: &str, id: &str, parts: &[Part]) -> Result<()> {
        let mut body = String::from("<CompleteMultipartUpload>");
        for Part { number, tag, .. } in parts {
            let tag = quick_xml::escape::escape(tag);
            let _ = write!(
                body,
                "<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"
            );
        }
        body.push_str("</CompleteMultipartUpload>");
        let query = [("uploadId", id)];
        let answer = self
            .send("complete", Method::POST, key, &query, body.into())
            .await?;
        // S3 sends 200 before it knows, and the error then follows in the body.
        let text = String::from_utf8_lossy(&answer);
        if !text.contains("<CompleteMultipartUploadResult") {
            return Err(Error::Remote {
                what: "complete",
                key: key.to_owned(),
                why: text.chars().take(300).collect(),
                is_ours: false,
            });
        }
        Ok(())
    }

    pub(crate) async fn list(&self, prefix: &str, token: Option<&str>) -> Result<Page<Object>> {
        let mut query = vec![
            ("encoding-type", "url"),
            ("list-type", "2"),
            ("max-keys", PAGE),
            ("prefix", prefix),
        ];
        query.extend(token.map(|token| ("continuation-token", token)));
        let answer = self
            .send("list", Method::GET, "", &query, Bytes::new())
            .await?;
        let page: ListBucketResult = read("list", prefix, &answer)?;
        let is_encoded = page.encoding_type.as_deref() == Some("url");
        let objects = page.contents.into_iter().map(|found| Object {
            key: decoded(found.key, is_encoded),
            size: found.size,
            modified: time(&found.last_modified),
        });
        Ok(Page {
            found: objects.collect(),
            next: page.next.filter(|_| page.is_truncated),
        })
    }

    /// Uploads in parts that are neither completed nor aborted.
    pub(crate) async fn begun(&self, prefix: &str, token: Option<&str>) -> Result<Page<Begun>> {
        let (key, id) = token.and_then(|token| token.split_once('\n')).unzip();
        let mut query = vec![
            ("encoding-type", "url"),
            ("max-uploads", PAGE),
            ("prefix", prefix),
            ("uploads", ""),
        ];
        query.extend(key.map(|key| ("key-marker", key)));
        query.extend(id.map(|id| ("upload-id-marker", id)));
        query.sort_unstable();
        let answer = self
            .send("list uploads", Method::GET, "", &query, Bytes::new())
            .await?;
        let page: ListMultipartUploadsResult = read("list uploads", prefix, &answer)?;
        let is_encoded = page.encoding_type.as_deref() == Some("url");
        let next = match (page.is_truncated, page.next_key, page.next_id) {
            (true, Some(key), Some(id)) => Some(format!("{}\n{id}", decoded(key, is_encoded))),
            _ => None,
        };
        let found = page.uploads.into_iter().map(|upload| Begun {
            key: decoded(upload.key, is_encoded),
            id: upload.id,
            begun: upload
                .initiated
                .as_deref()
                .map_or(SystemTime::UNIX_EPOCH, time),
        });
        Ok(Page {
            found: found.collect(),
            next,
        })
    }

    /// Repeats what may do with a repetition, signed anew each time.
    async fn send(
        &self,
        what: &'static str,
        method: Method,
        key: &str,
        query: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Bytes> {
        let begun = std::time::Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            let failed = match self.send_once(&method, key, query, body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if !failed.passes() || begun.elapsed() + pause > self.patience {
                return Err(failed.into_error(what, key));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    async fn send_once(
        &self,
        method: &Method,
        key: &str,
        query: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Bytes, Failed> {
        let mut uri = format!("{}/{}", self.url, encoded(key, true));
        for (n, (name, value)) in query.iter().enumerate() {
            uri.push(if n == 0 { '?' } else { '&' });
            let _ = write!(uri, "{name}={}", encoded(value, false));
        }
        let mut request = Request::new(HttpRequestBody::from(body.clone()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.parse().map_err(|_| Failed::said("not an address"))?;
        // Ceph and Swift want it also where it is 0.
        request
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        let credential = self.credentials.get_credential().await?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .with_sign_payload(self.signs_bodies)
            .try_authorize(&mut request, None)?;
        let answer = self.wire.execute(request).await?;
        let mut body = answer.into_body().bytes_stream();
        let mut whole = Vec::new();
        while let Some(bytes) = futures_util::TryStreamExt::try_next(&mut body).await? {
            if whole.len() + bytes.len() > ANSWER {
                return Err(Failed::said("the answer is too long"));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.into())
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBucketResult {
    #[serde(default)]
    contents: Vec<Contents>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(rename = "NextContinuationToken")]
    next: Option<String>,
    encoding_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    last_modified: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListMultipartUploadsResult {
    #[serde(default, rename = "Upload")]
    uploads: Vec<Upload>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(rename = "NextKeyMarker")]
    next_key: Option<String>,
    #[serde(rename = "NextUploadIdMarker")]
    next_id: Option<String>,
    encoding_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    #[serde(rename = "UploadId")]
    id: String,
    initiated: Option<String>,
}

/// What a list is called in XML: without a look at it anything would read as an empty one.
trait Root {
    const ROOT: &'static str;
}

impl Root for ListBucketResult {
    const ROOT: &'static str = "ListBucketResult";
}

impl Root for ListMultipartUploadsResult {
    const ROOT: &'static str = "ListMultipartUploadsResult";
}

fn read<'a, T: Deserialize<'a> + Root>(
    what: &'static str,
    key: &str,
    answer: &'a [u8],
) -> Result<T> {
    let failed = |why: String| Error::Remote {
        what,
        key: key.to_owned(),
        why,
        is_ours: false,
    };
    let text = std::str::from_utf8(answer).map_err(|error| failed(error.to_string()))?;
    if !text.contains(&format!("<{}", T::ROOT)) {
        return Err(failed(format!("the answer is no {}", T::ROOT)));
    }
    quick_xml::de::from_str(text).map_err(|error| failed(error.to_string()))
}

/// As signatures want it: all but the unreserved characters of RFC 3986, and in paths the slash.
fn encoded(text: &str, is_path: bool) -> String {
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

fn decoded(key: String, is_encoded: bool) -> String {
    if !is_encoded {
        return key;
    }
    let spaced = key.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced)
        .decode_utf8_lossy()
        .into_owned()
}

/// RFC 3339, as lists write it; the distant past for what is none, so that nobody takes it for new.
fn time(text: &str) -> SystemTime {
    text.parse::<jiff::Timestamp>()
        .map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
}
