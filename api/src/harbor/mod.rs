//! Harbor's REST API and what stands beside it (`/api/v2.0`, `/c`, …). What there is stands in one table ([`routes`]); a request
//! finds its row there, the row says who may, and its handler takes, does, and answers.

mod access;
mod answer;
mod call;
mod error;
mod input;
mod openapi;
mod page;
mod route;
mod routes;

mod artifacts;
mod audit;
mod browser;
mod configurations;
mod cve_allowlists;
mod devcenter;
mod executions;
mod gc;
mod health;
mod icons;
mod immutable_rules;
mod jobservice;
mod labels;
mod members;
mod nodes;
mod permissions;
mod ping;
mod project_metadata;
mod projects;
mod purge_audit;
mod quotas;
mod repositories;
mod retentions;
mod robots;
mod scanners;
mod schedules;
mod search;
mod space;
mod statistics;
mod systeminfo;
mod trash;
mod usergroups;
mod users;

use std::sync::{Arc, OnceLock};

use auth::{Caller, Via};
use http::{HeaderValue, Response, StatusCode, header};

use crate::{
    admission::Room,
    body::{Body, RequestBody},
    measure::Kind,
    notes::Notes,
    request::Ask,
};

use call::Call;
use error::Result;
use route::{Found, Routes};

/// The table, made ready to be searched.
fn routes() -> &'static Routes {
    static ROUTES: OnceLock<Routes> = OnceLock::new();
    ROUTES.get_or_init(|| Routes::new(routes::table()))
}

/// Answers when the path is one of this face; none when it is not.
pub(crate) async fn serve(
    ask: &Arc<Ask>,
    notes: &mut Notes,
    body: RequestBody,
) -> Option<Response<Body>> {
    let found = routes().find(&ask.head.method, ask.head.uri.path())?;
    notes.kind = Kind::Api;
    let answered = match found {
        Found::Route(route, params) => {
            notes.operation = Some(route.operation);
            answer(ask, notes, body, route, params).await
        }
        Found::OtherMethods(allow) => return Some(method_not_allowed(&allow)),
    };
    Some(answered.unwrap_or_else(|refused| refused.answer(ask)))
}

async fn answer(
    ask: &Arc<Ask>,
    notes: &mut Notes,
    body: RequestBody,
    route: &'static route::Route,
    params: route::Params,
) -> Result<Response<Body>> {
    let _room = ask.app.admission.enter(Room::Small)?;
    let (caller, _) = ask.identify(notes).await?;
    // A token of the token service is narrowed to repositories, of which this face knows nothing: here it is none, as with Harbor.
    let caller = match caller.via {
        Via::Bearer => Caller::anonymous(),
        _ => caller,
    };
    let mut call = Call::new(ask.clone(), caller, params);
    access::check(&mut call, route.access).await?;
    route.run(call, body).await
}

fn method_not_allowed(allow: &str) -> Response<Body> {
    let text = format!("this method is not supported here: use {allow}");
    let mut response =
        crate::error::plain(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", &text);
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}
