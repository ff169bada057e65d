//! The setting `read_only`: nothing is written through any face, as with Harbor.

use http::{Method, Response, StatusCode};
use model::Result;

use crate::{
    admission::Room,
    body::Body,
    error::{self, Dialect},
    headers,
    request::Ask,
};

/// Harbor's text, which its users' scripts look for.
const TEXT: &str = "The system is in read only mode. Any modification is prohibited.";

/// What goes on all the same: to end the mode, and to sign in for that.
const EXEMPT: [(Method, &str); 5] = [
    (Method::PUT, "/api/v2.0/configurations"),
    (Method::POST, "/c/login"),
    (Method::POST, "/c/userExists"),
    (Method::POST, "/c/oidc/onboard"),
    (Method::POST, "/service/token"),
];

/// The refusal of a request that would write, while nothing may be written.
pub(crate) async fn refused(ask: &Ask) -> Option<Response<Body>> {
    if !may_write(&ask.head.method) || is_exempt(&ask.head.method, ask.head.uri.path()) {
        return None;
    }
    let dialect = if ask.head.uri.path().starts_with("/v2") {
        Dialect::Distribution
    } else {
        Dialect::Harbor
    };
    let mut response = match is_on(ask).await {
        Ok(false) => return None,
        Ok(true) => error::plain(StatusCode::FORBIDDEN, "DENIED", TEXT),
        Err(failed) => error::answer(&failed, dialect, ask.request_id.as_str()),
    };
    if dialect == Dialect::Distribution {
        headers::add_api_version(&mut response);
    }
    Some(response)
}

async fn is_on(ask: &Ask) -> Result<bool> {
    // The setting is a question to the database: no more of them at once than of any others.
    let _room = ask.app.admission.enter(Room::Small)?;
    Ok(ask.app.registry.db().settings().await?.read_only())
}

fn may_write(method: &Method) -> bool {
    !matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    )
}

fn is_exempt(method: &Method, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    EXEMPT
        .iter()
        .any(|(exempt, known)| exempt == method && *known == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_can_be_ended_while_it_holds() {
        for (method, path, goes_on) in [
            (Method::PUT, "/api/v2.0/configurations", true),
            (Method::PUT, "/api/v2.0/configurations/", true),
            (Method::POST, "/api/v2.0/configurations", false),
            (Method::POST, "/c/login", true),
            (Method::POST, "/api/v2.0/projects", false),
        ] {
            assert_eq!(is_exempt(&method, path), goes_on, "{method} {path}");
        }
    }
}
