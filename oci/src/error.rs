//! The spec's error codes and the JSON envelope of every refusal.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// The codes of the distribution spec, "Error Codes". The set is closed: clients switch on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
}

impl ErrorCode {
    /// The code as it goes over the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The body of an answer that refuses. The code is a text since not every face keeps to [`ErrorCode`].
pub fn envelope(code: &str, message: &str, detail: Option<&Value>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Item<'a> {
        code: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a Value>,
    }
    #[derive(Serialize)]
    struct Envelope<'a> {
        errors: [Item<'a>; 1],
    }
    let item = Item {
        code,
        message,
        detail,
    };
    serde_json::to_vec(&Envelope { errors: [item] })
        .expect("texts and JSON values always serialise")
}

/// A client's text, made fit to be quoted in a message: bounded, and on one line.
pub(crate) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 128;
    let mut excerpt: String = text.chars().take(LONGEST).map(printable).collect();
    if text.chars().nth(LONGEST).is_some() {
        excerpt.push('…');
    }
    excerpt
}

fn printable(character: char) -> char {
    if character.is_control() {
        '\u{fffd}'
    } else {
        character
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_is_the_specs() {
        let plain = envelope(ErrorCode::NameInvalid.as_str(), "say \"why\"", None);
        assert_eq!(
            String::from_utf8(plain).unwrap(),
            r#"{"errors":[{"code":"NAME_INVALID","message":"say \"why\""}]}"#
        );
        let detail = serde_json::json!({"digest": "x"});
        let detailed = envelope("BLOB_UNKNOWN", "no", Some(&detail));
        assert_eq!(
            String::from_utf8(detailed).unwrap(),
            r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"no","detail":{"digest":"x"}}]}"#
        );
    }

    #[test]
    fn an_excerpt_is_short_and_on_one_line() {
        assert_eq!(excerpt("a\r\nb"), "a\u{fffd}\u{fffd}b");
        assert_eq!(excerpt(&"ä".repeat(128)), "ä".repeat(128));
        assert_eq!(excerpt(&"ä".repeat(1000)).chars().count(), 129);
    }
}
