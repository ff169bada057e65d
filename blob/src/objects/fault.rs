//! What an object store refuses, in a form that the callers of this crate can act on.

use std::error::Error as StdError;

use http::StatusCode;

use crate::Error;

/// An answer of 400 and above: who gets it can look it up along the sources of an error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store answered {}{}{}", status.as_u16(), code.as_ref().map_or(String::new(), |code| format!(" {code}")), message.as_ref().map_or(String::new(), |text| format!(": {text}")))]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// The vendor's word for it, as `NoSuchKey`.
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
}

impl Refusal {
    pub(crate) fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(refusal) = error.downcast_ref() {
                return Some(refusal);
            }
            next = error.source();
        }
        None
    }

    /// Whether asking again, after a while, may do.
    pub(crate) fn passes(&self) -> bool {
        matches!(
            self.status.as_u16(),
            408 | 429 | 498 | 500 | 502 | 503 | 504
        ) || self.is(&["SlowDown", "RequestTimeout", "OperationAborted"])
    }

    pub(crate) fn is(&self, codes: &[&str]) -> bool {
        self.code
            .as_deref()
            .is_some_and(|code| codes.contains(&code))
    }

    fn into_error(self, what: &'static str, key: &str) -> Error {
        const FULL: &[&str] = &[
            "QuotaExceeded",
            "XMinioStorageFull",
            "InsufficientCapacity",
            "EntityTooLargeForQuota",
        ];
        if self.is(&["NoSuchBucket", "ContainerNotFound"]) {
            return Error::Unusable {
                root: key.to_owned(),
                why: "the bucket does not exist".to_owned(),
            };
        }
        // Of the parts that were named one is another by now, or the upload ended: what was sent is not there any more.
        let is_gone = self.is(&[
            "InvalidPart",
            "InvalidPartOrder",
            "InvalidBlockList",
            "NoSuchUpload",
        ]);
        if self.status == StatusCode::NOT_FOUND || is_gone {
            return Error::NotFound;
        }
        // Swift has no other word for it.
        let message = self.message.as_deref().unwrap_or_default();
        let is_over = self.status == StatusCode::PAYLOAD_TOO_LARGE && message.contains("quota");
        if self.status == StatusCode::INSUFFICIENT_STORAGE || is_over || self.is(FULL) {
            return Error::Full;
        }
        if self.status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Error::Damaged(format!("`{key}` is shorter than it should be"));
        }
        let is_ours = matches!(self.status.as_u16(), 401 | 403)
            || self.is(&["ExpiredToken", "RequestTimeTooSkewed", "InvalidAccessKeyId"]);
        Error::Remote {
            what,
            key: key.to_owned(),
            why: advice(&self),
            is_ours,
        }
    }
}

/// The store's own words, and what a person can do where that is known.
fn advice(refusal: &Refusal) -> String {
    let hint = match (refusal.code.as_deref(), refusal.status.as_u16()) {
        (Some("RequestTimeTooSkewed"), _) => "set this machine's clock",
        (Some("InvalidAccessKeyId"), _) => "correct storage.access_key",
        (Some("SignatureDoesNotMatch"), _) => "correct storage.secret_key, or storage.region",
        (Some("AuthorizationHeaderMalformed" | "PermanentRedirect"), _) | (_, 301 | 307) => {
            "correct storage.region and storage.endpoint"
        }
        (Some("AuthenticationFailed"), _) => {
            "correct storage.access_key and storage.secret_key, or set this machine's clock"
        }
        (Some("ExpiredToken"), _) => "the credentials have expired",
        (_, 401 | 403) => "these credentials may not do that",
        _ => return refusal.to_string(),
    };
    format!("{refusal} ({hint})")
}

/// As an error of this crate: an object that is not there is the caller's answer and no fault.
pub(crate) fn fault(what: &'static str, key: &str, error: &(dyn StdError + 'static)) -> Error {
    if let Some(refusal) = Refusal::find(error) {
        return refusal.clone().into_error(what, key);
    }
    Error::Remote {
        what,
        key: key.to_owned(),
        why: innermost(error),
        is_ours: false,
    }
}

/// The last of the sources says what happened; those above it repeat that they were under way.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: &str) -> Error {
        Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            code: (!code.is_empty()).then(|| code.to_owned()),
            message: None,
        }
        .into_error("read", "k")
    }

    #[test]
    fn what_is_not_there_and_what_is_full_are_told_apart_from_faults() {
        assert!(matches!(refusal(404, "NoSuchKey"), Error::NotFound));
        assert!(matches!(refusal(404, ""), Error::NotFound));
        assert!(matches!(
            refusal(404, "NoSuchBucket"),
            Error::Unusable { .. }
        ));
        assert!(matches!(refusal(507, ""), Error::Full));
        assert!(matches!(refusal(403, "QuotaExceeded"), Error::Full));
        let over = Refusal {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: None,
            message: Some("Upload exceeds quota.".to_owned()),
        };
        assert!(matches!(over.into_error("put", "k"), Error::Full));
        let Error::Remote { why, .. } = refusal(403, "RequestTimeTooSkewed") else {
            panic!("a fault");
        };
        assert!(why.contains("clock"), "{why}");
    }
}
