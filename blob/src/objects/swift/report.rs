//! Answers that say in their bodies how a call went, after they have begun with 200 or 202: bulk deletes and manifests.

use http::StatusCode;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    #[serde(rename = "Response Status", default)]
    pub(crate) status: String,
    /// Of the object that was made, in quotes.
    #[serde(rename = "Etag", default)]
    pub(crate) etag: String,
    /// Names and what was wrong with them.
    #[serde(rename = "Errors", default)]
    pub(crate) errors: Vec<(String, String)>,
}

impl Report {
    /// Spaces stand before it that kept the connection alive.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The status that the call would have had otherwise.
    pub(crate) fn code(&self) -> Option<u16> {
        code(&self.status)
    }

    pub(crate) fn is_success(&self) -> bool {
        let status = self.code().and_then(|code| StatusCode::from_u16(code).ok());
        self.errors.is_empty() && status.is_some_and(|status| status.is_success())
    }

    /// As a person reads it.
    pub(crate) fn shown(&self) -> String {
        match self.errors.first() {
            Some((name, why)) => format!("{}: `{name}`: {why}", self.status),
            None => self.status.clone(),
        }
    }
}

/// `404 Not Found` as 404.
pub(crate) fn code(status: &str) -> Option<u16> {
    status.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_read_behind_what_kept_the_connection_alive() {
        let body = b"  \r\n\r\n{\"Response Status\": \"400 Bad Request\", \"Response Body\": \"x\", \"Errors\": [[\"/c/o\", \"404 Not Found\"]]}";
        let report = Report::read(body).unwrap();
        assert_eq!((report.code(), report.is_success()), (Some(400), false));
        assert!(report.shown().contains("`/c/o`: 404"));
        let fine = br#"{"Number Deleted": 1, "Response Status": "200 OK", "Errors": []}"#;
        assert!(Report::read(fine).unwrap().is_success());
        assert!(Report::read(b"").is_none());
    }
}
