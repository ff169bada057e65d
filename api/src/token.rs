//! `GET /service/token`: Harbor's token service. What a token allows is what was asked for and the caller may do now.

use auth::Caller;
use http::{HeaderValue, Method, Response, StatusCode, header};
use model::Result;
use oci::{query, scope::parse_scopes};
use serde::Serialize;

use crate::{
    admission::Room,
    body::Body,
    error::{self, Dialect},
    identity::Presented,
    notes::Notes,
    request::Ask,
};

/// The only service tokens are given for (Harbor's name, which clients repeat from the challenge).
pub(crate) const SERVICE: &str = "harbor-registry";
/// Scopes looked at in one request.
const MOST_SCOPES: usize = 64;

#[derive(Serialize)]
struct Answer<'a> {
    token: &'a str,
    access_token: &'a str,
    expires_in: u64,
    issued_at: String,
}

pub(crate) async fn serve(ask: &Ask, notes: &mut Notes) -> Response<Body> {
    // containerd tries the OAuth2 POST first and goes on with GET after a 405 (or 404) only.
    if !matches!(ask.head.method, Method::GET | Method::HEAD) {
        return error::method_not_allowed("GET");
    }
    match issue(ask, notes).await {
        Ok(response) => response,
        Err(failed) => error::answer(&failed, Dialect::Harbor, ask.request_id.as_str()),
    }
}

async fn issue(ask: &Ask, notes: &mut Notes) -> Result<Response<Body>> {
    let _room = ask.app.admission.enter(Room::Small)?;
    if let Some(service) = query::first(ask.query(), "service").filter(|service| service != SERVICE)
    {
        return Ok(unknown_service(&service));
    }
    let (caller, presented) = ask.identify(notes).await?;
    // A token begets no token, or it would never end.
    let caller = if presented == Presented::Bearer {
        Caller::anonymous()
    } else {
        caller
    };
    notes.subject = caller.subject.clone();
    let asked: Vec<_> = query::all(ask.query(), "scope")
        .flat_map(|text| {
            parse_scopes(&text)
                .filter_map(Result::ok)
                .collect::<Vec<_>>()
        })
        .take(MOST_SCOPES)
        .collect();
    if asked.is_empty() && !caller.is_authenticated() {
        // An empty body: docker then prints "unauthorized: authentication required", which people know.
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(response);
    }
    let issued = ask.auth().issue(&caller, &asked).await?;
    let body = serde_json::to_vec(&Answer {
        token: &issued.token,
        access_token: &issued.token,
        expires_in: issued.expires_in,
        issued_at: issued.issued_at.rfc3339(),
    })
    .map_err(model::error::internal("writing a token's answer"))?;
    let mut response = Response::new(Body::whole(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn unknown_service(service: &str) -> Response<Body> {
    let escaped: String = service
        .chars()
        .take(100)
        .filter(|c| !c.is_control() && !"<>&\"'".contains(*c))
        .collect();
    let mut response = Response::new(Body::whole(format!(
        "Unable to handle service: {escaped}\n"
    )));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
