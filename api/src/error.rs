//! One meaning, two dialects: what each error is as a status, as a code of the distribution specification and as a code
//! of Harbor's API. The text of a 5xx stays here, in the log, under the request's id.

use http::{HeaderValue, Response, StatusCode, header};
use model::{Error, What};
use oci::error::{ErrorCode, envelope};

use crate::body::Body;

/// Which face answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/v2`: codes of the distribution specification only.
    Distribution,
    /// `/api/v2.0` and beside it: Harbor's codes.
    Harbor,
}

pub fn status(error: &Error) -> StatusCode {
    match error {
        Error::Unauthenticated => StatusCode::UNAUTHORIZED,
        Error::Denied(_) | Error::QuotaExceeded(_) => StatusCode::FORBIDDEN,
        Error::NotFound(..) | Error::MissingBlob(_) => StatusCode::NOT_FOUND,
        Error::Invalid(..) => StatusCode::BAD_REQUEST,
        Error::RangeMismatch { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
        Error::Conflict(_) => StatusCode::CONFLICT,
        Error::Precondition(_) | Error::PolicyViolation(_) => StatusCode::PRECONDITION_FAILED,
        Error::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Error::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::Unsupported(_) => StatusCode::METHOD_NOT_ALLOWED,
        Error::StorageFull(_) => StatusCode::INSUFFICIENT_STORAGE,
        Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn v2_code(error: &Error) -> &'static str {
    match error {
        Error::Unauthenticated => ErrorCode::Unauthorized.as_str(),
        Error::Denied(_) | Error::Conflict(_) | Error::QuotaExceeded(_) | Error::StorageFull(_) => {
            ErrorCode::Denied.as_str()
        }
        Error::NotFound(what, _) => match what {
            What::Blob => ErrorCode::BlobUnknown.as_str(),
            What::Upload => ErrorCode::BlobUploadUnknown.as_str(),
            What::Manifest | What::Tag => ErrorCode::ManifestUnknown.as_str(),
            _ => ErrorCode::NameUnknown.as_str(),
        },
        Error::MissingBlob(_) => ErrorCode::ManifestBlobUnknown.as_str(),
        // Harbor's own, which its clients look for.
        Error::Precondition(_) => "PRECONDITION",
        Error::PolicyViolation(_) => "PROJECTPOLICYVIOLATION",
        Error::Invalid(what, _) => match what {
            What::Digest => ErrorCode::DigestInvalid.as_str(),
            What::Size => ErrorCode::SizeInvalid.as_str(),
            What::Upload | What::Range | What::Blob | What::Request => {
                ErrorCode::BlobUploadInvalid.as_str()
            }
            What::Manifest | What::Tag => ErrorCode::ManifestInvalid.as_str(),
            What::Query => ErrorCode::Unsupported.as_str(),
            _ => ErrorCode::NameInvalid.as_str(),
        },
        Error::RangeMismatch { .. } => ErrorCode::BlobUploadInvalid.as_str(),
        Error::TooLarge(_) => ErrorCode::SizeInvalid.as_str(),
        Error::TooMany { .. } => ErrorCode::TooManyRequests.as_str(),
        Error::Unsupported(_) => ErrorCode::Unsupported.as_str(),
        Error::Unavailable(_) | Error::Internal(_) => "UNKNOWN",
    }
}

fn harbor_code(error: &Error) -> &'static str {
    match error {
        Error::Unauthenticated => "UNAUTHORIZED",
        Error::Denied(_) => "FORBIDDEN",
        Error::NotFound(..) | Error::MissingBlob(_) => "NOT_FOUND",
        Error::Invalid(What::Digest, _) => "DIGEST_INVALID",
        Error::Invalid(What::Manifest, _) => "MANIFEST_INVALID",
        Error::Invalid(..) | Error::RangeMismatch { .. } => "BAD_REQUEST",
        Error::Conflict(_) => "CONFLICT",
        Error::Precondition(_) => "PRECONDITION",
        Error::PolicyViolation(_) => "PROJECTPOLICYVIOLATION",
        Error::TooLarge(_) => "REQUEST_ENTITY_TOO_LARGE",
        Error::TooMany { .. } => "TOO_MANY_REQUEST",
        Error::Unsupported(_) => "METHOD_NOT_ALLOWED",
        Error::QuotaExceeded(_) | Error::StorageFull(_) => "DENIED",
        Error::Unavailable(_) | Error::Internal(_) => "UNKNOWN",
    }
}

/// What the client reads. Of our own faults only that there was one.
fn message(error: &Error) -> String {
    match error {
        Error::Unavailable(_) => {
            "the registry cannot answer this just now: try again shortly".to_owned()
        }
        Error::Internal(_) => "internal server error".to_owned(),
        told => told.to_string(),
    }
}

/// The answer that says this error. Faults of ours are logged here, once, with their cause.
pub fn answer(error: &Error, dialect: Dialect, request_id: &str) -> Response<Body> {
    if error.is_server_fault() {
        tracing::error!(request_id, error = %error, "a request failed");
    }
    let code = match dialect {
        Dialect::Distribution => v2_code(error),
        Dialect::Harbor => harbor_code(error),
    };
    let mut response = plain(status(error), code, &message(error));
    if let Some(seconds) = retry_after(error) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    if matches!(error, Error::Unsupported(_)) {
        // What may not be changed may still be read.
        let reading = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, reading);
    }
    response
}

/// 405 outside `/v2`, with the methods that work there.
pub fn method_not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = plain(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        &format!("this method is not supported here: use {allow}"),
    );
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// The envelope of both faces: `{"errors":[{"code","message"}]}`.
pub fn plain(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::whole(envelope(code, message, None)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
}

fn retry_after(error: &Error) -> Option<HeaderValue> {
    match error {
        Error::TooMany { retry_after } => Some(HeaderValue::from(retry_after.as_secs().max(1))),
        Error::Unavailable(_) => Some(HeaderValue::from_static("2")),
        _ => None,
    }
}
