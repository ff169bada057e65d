//! Cookies: what the browser brings, and what it is told to keep.

use http::{HeaderMap, HeaderValue, header};
use std::time::Duration;

/// A browser's session.
pub(crate) const SESSION: &str = "sid";
/// What the page's token is compared with (Harbor's name for it, which clients look for).
pub(crate) const CSRF: &str = "_gorilla_csrf";

/// The first cookie of this name.
pub(crate) fn find<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then(|| value.trim_matches('"'))
        })
}

/// A cookie that no script reads.
pub(crate) struct Cookie<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    /// Nothing of it is left after that.
    pub(crate) life: Duration,
    pub(crate) same_site: &'a str,
    /// Sent over https alone.
    pub(crate) secure: bool,
}

impl Cookie<'_> {
    /// The header that makes the browser keep it. Our values are letters, digits, `-` and `_`.
    pub(crate) fn header(&self) -> HeaderValue {
        let Self {
            name,
            value,
            same_site,
            ..
        } = self;
        let (life, secure) = (
            self.life.as_secs(),
            if self.secure { "; Secure" } else { "" },
        );
        let text = format!(
            "{name}={value}; Path=/; Max-Age={life}; HttpOnly; SameSite={same_site}{secure}"
        );
        HeaderValue::from_str(&text).expect("letters, digits and punctuation fit a header")
    }
}

/// The session's cookie; a life of nothing takes it away.
pub(crate) fn session(value: &str, life: Duration, secure: bool) -> HeaderValue {
    Cookie {
        name: SESSION,
        value,
        life,
        same_site: "Lax",
        secure,
    }
    .header()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        for text in ["a=1; sid=first ;b", "sid=second; xsid=no", "=; ;;=x"] {
            headers.append(header::COOKIE, HeaderValue::from_static(text));
        }
        assert_eq!(find(&headers, "sid"), Some("first"));
        assert_eq!(find(&headers, "xsid"), Some("no"));
        assert_eq!(find(&headers, "b"), None);
        assert_eq!(find(&headers, "SID"), None);
    }

    #[test]
    fn a_cookie_says_how_long_and_how_safely_it_is_kept() {
        let header = session("abc", Duration::from_hours(1), true);
        assert_eq!(
            header.to_str().expect("a text"),
            "sid=abc; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"
        );
        assert!(
            !session("", Duration::ZERO, false)
                .to_str()
                .expect("a text")
                .contains("Secure")
        );
    }
}
