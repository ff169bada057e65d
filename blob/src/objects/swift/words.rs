//! What Swift, Keystone and Ceph's gateway say of a refusal, each in a form of its own: a page of HTML, JSON, or a plain word.

use serde::Deserialize;

/// The longest text that is shown.
const SHOWN: usize = 300;

#[derive(Deserialize)]
struct OfKeystone {
    error: KeystoneError,
}

#[derive(Deserialize)]
struct KeystoneError {
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OfCeph {
    code: String,
}

/// The vendor's word for it, where there is one.
pub(crate) fn code(text: &str) -> Option<String> {
    if let Ok(OfCeph { code }) = serde_json::from_str(text) {
        return Some(code);
    }
    let word = text.trim();
    let is_word = (1..=40).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphabetic());
    is_word.then(|| word.to_owned())
}

/// A sentence for a person.
pub(crate) fn message(text: &str) -> Option<String> {
    let sentence = if let Ok(OfKeystone { error }) = serde_json::from_str(text) {
        error.message
    } else if let Some((_, rest)) = text.split_once("<p>") {
        rest.split("</p>").next().unwrap_or(rest).to_owned()
    } else if text.trim_start().starts_with(['<', '{', '[']) || code(text).is_some() {
        return None;
    } else {
        text.to_owned()
    };
    let sentence: String = sentence.trim().chars().take(SHOWN).collect();
    (!sentence.is_empty()).then_some(sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let html = "<html><h1>Not Found</h1><p>The resource could not be found.</p></html>";
        assert_eq!(code(html), None);
        assert_eq!(message(html).unwrap(), "The resource could not be found.");
        let keystone = r#"{"error":{"code":401,"message":"No.","title":"Unauthorized"}}"#;
        assert_eq!(
            (code(keystone), message(keystone).unwrap()),
            (None, "No.".to_owned())
        );
        let ceph = r#"{"Code":"NoSuchKey","Message":"","BucketName":"b"}"#;
        assert_eq!(
            (code(ceph).unwrap(), message(ceph)),
            ("NoSuchKey".to_owned(), None)
        );
        assert_eq!(code("NoSuchBucket").unwrap(), "NoSuchBucket");
        assert_eq!(
            message("Upload exceeds quota.").unwrap(),
            "Upload exceeds quota."
        );
        assert_eq!((code(""), message("")), (None, None));
    }
}
