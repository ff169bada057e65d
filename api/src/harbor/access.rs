//! Who may call a route. The table names it, so that it can be read down as one column and walked by a test.

use auth::Subject;
use db::projects;
use model::{
    Error as Cause, What,
    id::ProjectId,
    permission::{Action, Resource},
};

use super::{
    call::{Call, Place},
    error::{Error, Result},
};
use crate::headers;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, also without a name; the handler shows what the caller may see.
    Anybody,
    /// Everybody who signed in.
    SignedIn,
    /// Administrators, and robots of the system that were given it.
    System(Resource, Action),
    /// By role in the project that the path names.
    Project(Resource, Action),
    /// The handler decides, for this reason.
    Inside(&'static str),
}

/// Lets the call go on, or not. Of a project that the path names, the caller's rights stand in the call afterwards.
pub(crate) async fn check(call: &mut Call, access: Access) -> Result<()> {
    match access {
        Access::Anybody | Access::Inside(_) => Ok(()),
        Access::SignedIn if call.caller.is_authenticated() => Ok(()),
        Access::SignedIn => Err(Cause::Unauthenticated.into()),
        Access::System(resource, action) => call.require_on_system(resource, action).await,
        Access::Project(resource, action) => {
            find_place(call).await?;
            call.require(resource, action)
        }
    }
}

/// Finds the project that the path names. Whoever may not know that it is missing is refused as if it were not his.
pub(crate) async fn find_place(call: &mut Call) -> Result<()> {
    let name = project_name(call).await?;
    let rights = match &name {
        Some(name) => call.app().auth.standing(&call.caller, name).await?,
        None => None,
    };
    match (name, rights) {
        (Some(name), Some(rights)) => {
            call.place = Some(Place { name, rights });
            Ok(())
        }
        _ if call.caller.is_admin() => Err(missing(call)),
        _ => Err(refused(call)),
    }
}

/// By name where the path says so, or where the header does; a number is an id otherwise.
async fn project_name(call: &Call) -> Result<Option<String>> {
    if let Some(name) = call.find_param("project_name") {
        return Ok(Some(name.to_owned()));
    }
    let told = call.param("project_name_or_id");
    let is_name = call
        .header(headers::IS_RESOURCE_NAME)
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    match told.parse::<i64>() {
        Ok(id) if !is_name => {
            let mut reader = call.reader().await?;
            let project = projects::find(&mut reader, ProjectId(id)).await?;
            Ok(project.map(|project| project.name))
        }
        _ => Ok(Some(told.to_owned())),
    }
}

/// Goes on when the caller may do this in the project of this name, which a body or a row names rather than the path.
pub(crate) async fn require_in(
    call: &Call,
    project: &str,
    resource: Resource,
    action: Action,
) -> Result<()> {
    match call.app().auth.standing(&call.caller, project).await? {
        Some(rights) if rights.may(resource, action) => Ok(()),
        None if call.caller.is_admin() => Err(no_project(project)),
        _ => Err(refused(call)),
    }
}

/// The same for a project that is named by its number.
pub(crate) async fn require_in_id(
    call: &Call,
    project: ProjectId,
    resource: Resource,
    action: Action,
) -> Result<()> {
    let found = projects::find(&mut *call.reader().await?, project).await?;
    match found {
        Some(project) => require_in(call, &project.name, resource, action).await,
        None if call.caller.is_admin() => Err(no_project(&project.to_string())),
        None => Err(refused(call)),
    }
}

fn no_project(name: &str) -> Error {
    let shown: String = name.chars().take(255).collect();
    Cause::not_found(What::Project, format!("project {shown} not found")).into()
}

fn missing(call: &Call) -> Error {
    let named = call
        .find_param("project_name")
        .unwrap_or_else(|| call.param("project_name_or_id"));
    no_project(named)
}

/// 401 for a stranger, 403 for somebody known.
pub(crate) fn refused(call: &Call) -> Error {
    if call.caller.is_authenticated() {
        return Cause::Denied("forbidden".to_owned()).into();
    }
    Cause::Unauthenticated.into()
}

impl Call {
    /// Goes on when the caller has a name: some things of public projects Harbor does not show to strangers.
    pub(crate) fn require_name(&self) -> Result<()> {
        if self.caller.is_authenticated() {
            return Ok(());
        }
        Err(Cause::Unauthenticated.into())
    }

    /// Goes on when the caller may do this in the project that the path names.
    pub(crate) fn require(&self, resource: Resource, action: Action) -> Result<()> {
        if self.place().rights.may(resource, action) {
            return Ok(());
        }
        Err(refused(self))
    }

    /// Goes on when the caller may do this on the whole system.
    pub(crate) async fn require_on_system(&self, resource: Resource, action: Action) -> Result<()> {
        if self.may_on_system(resource, action).await? {
            return Ok(());
        }
        Err(match &self.caller.subject {
            Subject::Anonymous => Cause::Unauthenticated.into(),
            // Harbor's text is the caller's name.
            known => Cause::Denied(known.name().unwrap_or_default().to_owned()).into(),
        })
    }

    pub(crate) async fn may_on_system(&self, resource: Resource, action: Action) -> Result<bool> {
        Ok(self
            .app()
            .auth
            .may_on_system(&self.caller, resource, action)
            .await?)
    }
}
