//! Who may do what under `/v2`, and the challenge that tells a client what to bring (Harbor's, with one difference: a
//! token that has expired or is too narrow is answered with the Bearer challenge, so that clients simply get another).

use auth::Caller;
use http::{HeaderValue, Response, StatusCode, header};
use model::{
    Error, Result,
    id::ProjectId,
    permission::{Action, Resource},
};
use oci::{
    name::{NameRef, RepoName},
    query,
    route::{BlobVerb, ManifestVerb, Route},
};

use crate::{
    body::Body,
    error,
    identity::{Presented, identify},
    service::Ask,
    token::SERVICE,
};

/// A request that may go on.
pub(crate) struct Granted {
    pub caller: Caller,
    /// The project of the repository that is asked about.
    pub project: Option<ProjectId>,
}

/// A request that may not.
pub(crate) enum Refusal {
    Challenge(Box<Response<Body>>),
    Error(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// What each route needs of its repository's project.
fn needed(route: &Route<'_>) -> Option<Action> {
    match route {
        Route::Ping | Route::Catalog => None,
        Route::Tags { .. } | Route::Referrers { .. } => Some(Action::Pull),
        Route::Manifest { verb, .. } => Some(match verb {
            ManifestVerb::Get | ManifestVerb::Head => Action::Pull,
            ManifestVerb::Put => Action::Push,
            ManifestVerb::Delete => Action::Delete,
        }),
        Route::Blob { verb, .. } => Some(match verb {
            BlobVerb::Get | BlobVerb::Head => Action::Pull,
            BlobVerb::Delete => Action::Delete,
        }),
        // Also to look at an upload and to cancel it: it belongs to whoever pushes.
        Route::UploadStart { .. } | Route::Upload { .. } => Some(Action::Push),
    }
}

pub(crate) async fn check(ask: &mut Ask, route: &Route<'_>) -> Result<Granted, Refusal> {
    let (caller, presented) = identify(
        &ask.app.auth,
        &ask.head.headers,
        ask.connection.as_ref(),
        ask.app.registry.db().clock().now(),
    )
    .await?;
    ask.identity = caller.is_authenticated().then(|| caller.name().into());
    let (Some(name), Some(action)) = (route.name(), needed(route)) else {
        return check_nameless(ask, route, caller, presented).await;
    };
    // Also on a public project: docker decides by this answer whether to bring its credentials.
    if presented == Presented::Nothing {
        return Err(challenge(
            ask,
            presented,
            route,
            action,
            &unauthorized(name, action),
        ));
    }
    super::in_project(name)?;
    let Some(rights) = ask.app.auth.standing(&caller, name.project()).await? else {
        return Err(unknown_project(name.project()));
    };
    if !rights.may(Resource::Repository, action) {
        // No token could be wide enough: unless the present one is no good, asking for another would only go round.
        let presented = if presented == Presented::StaleBearer {
            presented
        } else {
            Presented::Basic
        };
        return Err(challenge(
            ask,
            presented,
            route,
            action,
            &unauthorized(name, action),
        ));
    }
    if presented == Presented::StaleBearer
        || !auth::scope_allows(&caller, name.as_str(), action.as_str())
    {
        return Err(challenge(
            ask,
            Presented::StaleBearer,
            route,
            action,
            &unauthorized(name, action),
        ));
    }
    Ok(Granted {
        caller,
        project: Some(rights.project),
    })
}

async fn check_nameless(
    ask: &Ask,
    route: &Route<'_>,
    caller: Caller,
    presented: Presented,
) -> Result<Granted, Refusal> {
    let (may, presented) = match route {
        Route::Catalog => (
            ask.app.auth.may_list_catalog(&caller).await?,
            Presented::Basic,
        ),
        _ => (caller.is_authenticated(), presented),
    };
    if may {
        return Ok(Granted {
            caller,
            project: None,
        });
    }
    Err(Refusal::Challenge(Box::new(unauthorized_answer(
        ask,
        presented,
        None,
        "unauthorized",
    ))))
}

/// A request that has no route: strangers hear no more than that they must say who they are.
pub(crate) async fn ask_strangers(ask: &mut Ask, name: Option<NameRef<'_>>) -> Result<(), Refusal> {
    let (caller, presented) = identify(
        &ask.app.auth,
        &ask.head.headers,
        ask.connection.as_ref(),
        ask.app.registry.db().clock().now(),
    )
    .await?;
    ask.identity = caller.is_authenticated().then(|| caller.name().into());
    if caller.is_authenticated() || presented == Presented::Bearer {
        return Ok(());
    }
    let scope = name.map(|name| format!("repository:{name}:pull"));
    Err(Refusal::Challenge(Box::new(unauthorized_answer(
        ask,
        presented,
        scope.as_deref(),
        "unauthorized",
    ))))
}

/// Whether this caller may pull from another repository, as a mount asks.
pub(crate) async fn may_pull(ask: &Ask, caller: &Caller, from: &RepoName) -> Result<bool> {
    let rights = ask.app.auth.standing(caller, from.project()).await?;
    Ok(rights.is_some_and(|rights| rights.may(Resource::Repository, Action::Pull)))
}

/// The challenge for a mount whose token does not reach its source.
pub(crate) fn challenge_mount(ask: &Ask, name: NameRef<'_>, from: &RepoName) -> Refusal {
    let scope = format!("repository:{name}:pull,push repository:{from}:pull");
    let message = unauthorized(from.borrowed(), Action::Pull);
    Refusal::Challenge(Box::new(unauthorized_answer(
        ask,
        Presented::StaleBearer,
        Some(&scope),
        &message,
    )))
}

fn challenge(
    ask: &Ask,
    presented: Presented,
    route: &Route<'_>,
    action: Action,
    message: &str,
) -> Refusal {
    let scope = route.name().map(|name| scope(ask, route, name, action));
    Refusal::Challenge(Box::new(unauthorized_answer(
        ask,
        presented,
        scope.as_deref(),
        message,
    )))
}

/// The scope that the request needs; of a mount with its source in the same text.
fn scope(ask: &Ask, route: &Route<'_>, name: NameRef<'_>, action: Action) -> String {
    let actions = match action {
        Action::Push => "pull,push",
        Action::Delete => "delete",
        _ => "pull",
    };
    let scope = format!("repository:{name}:{actions}");
    let from = matches!(route, Route::UploadStart { .. })
        .then(|| query::first(ask.query(), "from").and_then(|from| from.parse::<RepoName>().ok()))
        .flatten()
        .filter(|_| query::first(ask.query(), "mount").is_some());
    match from {
        Some(from) => format!("{scope} repository:{from}:pull"),
        None => scope,
    }
}

/// Harbor's text, which its users' scripts look for; the doubled half is its cause.
fn unauthorized(name: NameRef<'_>, action: Action) -> String {
    let once = format!("unauthorized to access repository: {name}, action: {action}");
    format!("{once}: {once}")
}

/// A challenge that leads nowhere would make clients ask again and again, so it is empty.
fn unknown_project(project: &str) -> Refusal {
    let message = format!("project {project} not found: project {project} not found");
    let mut response = error::plain(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", &message);
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(""));
    Refusal::Challenge(Box::new(response))
}

fn unauthorized_answer(
    ask: &Ask,
    presented: Presented,
    scope: Option<&str>,
    message: &str,
) -> Response<Body> {
    let mut response = error::plain(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message);
    let bearer = matches!(
        presented,
        Presented::Nothing | Presented::StaleBearer | Presented::Bearer
    );
    let challenge = match (bearer, ask.base_url()) {
        (true, Some(base)) => {
            let scope = scope
                .map(|scope| format!(",scope=\"{scope}\""))
                .unwrap_or_default();
            super::text(&format!(
                "Bearer realm=\"{base}/service/token\",service=\"{SERVICE}\"{scope}"
            ))
        }
        _ => HeaderValue::from_static("Basic realm=\"harbor\""),
    };
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}
