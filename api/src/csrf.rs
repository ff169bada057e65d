//! Refuses what another site makes its visitor's browser send: Harbor's double submit of a cookie and a header, in Harbor's words.
//! Requests of the API without a session's cookie need none of it, but whatever a browser says to come from another site is
//! refused: it brings a client's certificate, or a password that it remembers, by itself. What is checked carries a fresh token
//! in its answer, also the refusal, so that a client learns it there and repeats the request (as Terraform's does).

use std::time::Duration;

use auth::CsrfSecret;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use model::Result;

use crate::{
    body::Body,
    cookies::{self, Cookie},
    error::{self, Dialect},
    request::Ask,
};

const TOKEN: HeaderName = HeaderName::from_static("x-harbor-csrf-token");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How long a browser keeps its secret.
const LIFE: Duration = Duration::from_hours(12);
/// What other programs than browsers speak to.
const OF_PROGRAMS: [&str; 3] = ["/v2/", "/api/", "/service/"];
/// Neither shows nor does anything for a person.
const OF_MACHINES: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// What a request's check came to.
pub(crate) struct Checked {
    secret: CsrfSecret,
    /// The browser has it already.
    is_kept: bool,
}

/// Looks at a request; none when it need not be checked. An error is the answer.
pub(crate) fn check(ask: &Ask) -> Result<Option<Checked>, Box<Response<Body>>> {
    if is_foreign(ask) {
        let why = "a page of another site may not do this";
        let response = error::plain(StatusCode::FORBIDDEN, "FORBIDDEN", why);
        return Err(Box::new(response));
    }
    if !is_checked(ask) {
        return Ok(None);
    }
    let failed = |failed| {
        Box::new(error::answer(
            &failed,
            Dialect::Harbor,
            ask.request_id.as_str(),
        ))
    };
    let kept = kept(ask);
    let checked = Checked {
        is_kept: kept.is_some(),
        secret: match kept {
            Some(secret) => secret,
            None => ask.app.auth.new_csrf_secret().map_err(failed)?,
        },
    };
    if is_safe(&ask.head.method) {
        return Ok(Some(checked));
    }
    let refusal = match token(ask) {
        None => "CSRF token not found in request",
        Some(token) if checked.secret.fits(token) => return Ok(Some(checked)),
        Some(_) => "CSRF token invalid",
    };
    let mut response = error::plain(StatusCode::FORBIDDEN, "FORBIDDEN", refusal);
    checked.attach(ask, &mut response);
    Err(Box::new(response))
}

/// Whether a browser says that another site made it write. Programs say nothing of the kind.
fn is_foreign(ask: &Ask) -> bool {
    let site = ask.header(FETCH_SITE).unwrap_or("none");
    !is_safe(&ask.head.method) && !matches!(site, "same-origin" | "none")
}

/// Whether the request proves that it comes from a page of ours, wherever that is asked for.
pub(crate) fn proves(ask: &Ask) -> bool {
    match (kept(ask), token(ask)) {
        (Some(secret), Some(token)) => secret.fits(token),
        _ => false,
    }
}

fn is_checked(ask: &Ask) -> bool {
    let path = ask.head.uri.path();
    let begins = |all: &[&str]| all.iter().any(|start| path.starts_with(start));
    let metrics_only = ask
        .connection
        .as_ref()
        .is_some_and(|connection| connection.metrics_only);
    if metrics_only || begins(&OF_MACHINES) {
        return false;
    }
    !(begins(&OF_PROGRAMS) || path == "/v2")
        || cookies::find(&ask.head.headers, cookies::SESSION).is_some()
}

fn is_safe(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    )
}

fn kept(ask: &Ask) -> Option<CsrfSecret> {
    let cookie = cookies::find(&ask.head.headers, cookies::CSRF)?;
    ask.app.auth.csrf_secret(cookie)
}

fn token(ask: &Ask) -> Option<&str> {
    ask.header(TOKEN).filter(|token| !token.is_empty())
}

impl Checked {
    /// Gives the page its token, and the browser its secret where it has none.
    pub(crate) fn attach(&self, ask: &Ask, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        match self.secret.token().map(|text| HeaderValue::from_str(&text)) {
            Ok(Ok(token)) => headers.insert(TOKEN, token),
            _ => return,
        };
        headers.append(header::VARY, HeaderValue::from_static("Cookie"));
        if !self.is_kept {
            let cookie = Cookie {
                name: cookies::CSRF,
                value: &ask.app.auth.csrf_cookie(&self.secret),
                life: LIFE,
                same_site: "Strict",
                secure: ask.is_https(),
            };
            headers.append(header::SET_COOKIE, cookie.header());
        }
    }
}
