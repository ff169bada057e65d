//! Who may do what under `/v2`, and the challenge that tells a client what to bring (Harbor's, with one difference: a
//! token that has expired or is too narrow is answered with the Bearer challenge, so that clients simply get another).

use auth::Caller;
use http::{HeaderValue, Method, Response, StatusCode, header};
use model::{
    Error, Result, What,
    id::ProjectId,
    permission::{Action, Resource},
};
use oci::{
    name::{NameRef, RepoName},
    query,
    scope::repository_scope,
};
use registry::push::Target;

use crate::{body::Body, error, identity::Presented, notes::Notes, request::Ask, token::SERVICE};

/// A request about a repository that may go on.
pub(super) struct Granted {
    pub(super) caller: Caller,
    /// The project of the repository.
    pub(super) project: ProjectId,
    /// He scans what is here, and uses nothing of it.
    pub(super) is_scanner: bool,
    /// What he pulls must be signed, see `auth::Rights::trust`.
    pub(super) trust: i64,
    /// A quota limits what the project may hold.
    pub(super) is_limited: bool,
    pub(super) may_push: bool,
}

/// A request that may not.
pub(super) enum Refusal {
    Challenge(Box<Response<Body>>),
    Error(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Granted {
    /// Where a push goes.
    pub(super) fn target(&self, name: NameRef<'_>) -> Target {
        Target {
            project: self.project,
            name: name.owned(),
        }
    }
}

/// Who asks, when he may do this in the repository.
pub(super) async fn check(
    ask: &Ask,
    notes: &mut Notes,
    name: NameRef<'_>,
    action: Action,
) -> Result<Granted, Refusal> {
    let (caller, presented) = ask.identify(notes).await?;
    // Also on a public project: docker decides by this answer whether to bring its credentials.
    if presented == Presented::Nothing {
        return Err(challenge(ask, presented, name, action));
    }
    if name.repository().is_none() {
        return Err(Refusal::Error(Error::invalid(
            What::Repository,
            format!("invalid repository name `{name}`: write it as `project/repository`"),
        )));
    }
    let Some(rights) = ask.auth().standing(&caller, name.project()).await? else {
        return Err(unknown_project(name.project()));
    };
    if !rights.may(Resource::Repository, action) {
        // No token could be wide enough: unless the present one is no good, asking for another would only go round.
        let presented = if presented == Presented::StaleBearer {
            presented
        } else {
            Presented::Basic
        };
        return Err(challenge(ask, presented, name, action));
    }
    if presented == Presented::StaleBearer
        || !auth::scope_allows(&caller, name.as_str(), action.as_str())
    {
        return Err(challenge(ask, Presented::StaleBearer, name, action));
    }
    Ok(Granted {
        caller,
        project: rights.project,
        is_scanner: rights.may(Resource::Repository, Action::ScannerPull),
        trust: rights.trust,
        is_limited: rights.is_limited,
        may_push: rights.may(Resource::Repository, Action::Push),
    })
}

/// `GET /v2/` is for everybody who signed in: so clients find out how to.
pub(super) async fn check_signed_in(ask: &Ask, notes: &mut Notes) -> Result<(), Refusal> {
    let (caller, presented) = ask.identify(notes).await?;
    if caller.is_authenticated() {
        return Ok(());
    }
    Err(unauthorized(ask, presented, None, "unauthorized"))
}

/// The catalog tells of all projects. No token opens it, so none is asked for.
pub(super) async fn check_catalog(ask: &Ask, notes: &mut Notes) -> Result<(), Refusal> {
    let (caller, _) = ask.identify(notes).await?;
    if ask
        .app
        .auth
        .may_on_system(&caller, Resource::Catalog, Action::Read)
        .await?
    {
        return Ok(());
    }
    Err(unauthorized(ask, Presented::Basic, None, "unauthorized"))
}

/// A request that has no route: strangers hear no more than that they must say who they are.
pub(super) async fn ask_strangers(
    ask: &Ask,
    notes: &mut Notes,
    name: Option<NameRef<'_>>,
) -> Result<(), Refusal> {
    let (caller, presented) = ask.identify(notes).await?;
    if caller.is_authenticated() || presented == Presented::Bearer {
        return Ok(());
    }
    let scope = name.map(|name| repository_scope(&name, &["pull"]).to_string());
    Err(unauthorized(
        ask,
        presented,
        scope.as_deref(),
        "unauthorized",
    ))
}

/// Whether this caller may pull from another repository, as a mount asks.
pub(super) async fn may_pull(ask: &Ask, caller: &Caller, from: &RepoName) -> Result<bool> {
    let rights = ask.auth().standing(caller, from.project()).await?;
    Ok(rights.is_some_and(|rights| rights.may(Resource::Repository, Action::Pull)))
}

/// A mount's source must be within the caller's rights, and within his token.
pub(super) async fn check_source(
    ask: &Ask,
    caller: &Caller,
    name: NameRef<'_>,
    from: &RepoName,
) -> Result<(), Refusal> {
    let presented = if !may_pull(ask, caller, from).await? {
        // As above: no token could be wide enough.
        Presented::Basic
    } else if !auth::scope_allows(caller, from.as_str(), Action::Pull.as_str()) {
        Presented::StaleBearer
    } else {
        return Ok(());
    };
    let (scope, message) = (
        mount_scope(name, from),
        denied(from.borrowed(), Action::Pull),
    );
    Err(unauthorized(ask, presented, Some(&scope), &message))
}

fn challenge(ask: &Ask, presented: Presented, name: NameRef<'_>, action: Action) -> Refusal {
    let scope = scope(ask, name, action);
    unauthorized(ask, presented, Some(&scope), &denied(name, action))
}

/// The scope that the request needs; of a mount with its source in the same text.
fn scope(ask: &Ask, name: NameRef<'_>, action: Action) -> String {
    let actions: &[&str] = match action {
        Action::Push => &["pull", "push"],
        Action::Delete => &["delete"],
        _ => &["pull"],
    };
    let from = query::first(ask.query(), "from")
        .filter(|_| ask.head.method == Method::POST)
        .filter(|_| query::first(ask.query(), "mount").is_some())
        .and_then(|from| from.parse().ok());
    match from {
        Some(from) => mount_scope(name, &from),
        None => repository_scope(&name, actions).to_string(),
    }
}

fn mount_scope(name: NameRef<'_>, from: &RepoName) -> String {
    format!(
        "{} {}",
        repository_scope(&name, &["pull", "push"]),
        repository_scope(from, &["pull"])
    )
}

/// Harbor's text, which its users' scripts look for; the doubled half is its cause.
fn denied(name: NameRef<'_>, action: Action) -> String {
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

fn unauthorized(ask: &Ask, presented: Presented, scope: Option<&str>, message: &str) -> Refusal {
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
    Refusal::Challenge(Box::new(response))
}
