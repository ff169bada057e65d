//! What the caller may do, in words: on the system, or in one project.

use auth::Subject;
use model::{
    id::ProjectId,
    permission::{Action, Resource, SYSTEM_RIGHTS},
    role,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::harbor::{
    call::Call,
    error::Result,
    input::{Json, Query, flag},
};

#[derive(Deserialize, JsonSchema)]
pub(in crate::harbor) struct PermissionsQuery {
    /// `/system`, or `/project/1`.
    #[serde(default)]
    scope: String,
    /// Whether resources are named without the scope.
    #[serde(default, deserialize_with = "flag")]
    #[schemars(with = "Option<bool>")]
    relative: Option<bool>,
}

/// One right, its resource below the scope.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserPermission")]
pub(in crate::harbor) struct Permission {
    resource: String,
    action: &'static str,
}

pub(in crate::harbor) async fn permissions(
    call: Call,
    Query(asked): Query<PermissionsQuery>,
) -> Result<Json<Vec<Permission>>> {
    let scope = asked.scope.trim_end_matches('/');
    let rights = if let Some(project) = project_of(scope) {
        in_project(&call, project).await?
    } else if scope.starts_with("/system") {
        on_system(&call).await?
    } else {
        Vec::new()
    };
    let relative = asked.relative.unwrap_or(false);
    let permissions = rights.into_iter().map(|(resource, action)| Permission {
        resource: named(scope, resource, relative),
        action: action.as_str(),
    });
    Ok(Json(permissions.collect()))
}

fn project_of(scope: &str) -> Option<ProjectId> {
    let number = scope.strip_prefix("/project/")?.split('/').next()?;
    number.parse().ok().map(ProjectId)
}

/// The project's own resource is its scope.
fn named(scope: &str, resource: Resource, relative: bool) -> String {
    let own = resource == Resource::Project && scope.starts_with("/project");
    match (own, relative) {
        (true, true) => ".".to_owned(),
        (true, false) => scope.to_owned(),
        (false, true) => resource.as_str().to_owned(),
        (false, false) => format!("{scope}/{resource}"),
    }
}

async fn in_project(call: &Call, id: ProjectId) -> Result<Vec<(Resource, Action)>> {
    let project = db::projects::find(&mut *call.reader().await?, id).await?;
    let Some(project) = project else {
        return Ok(Vec::new());
    };
    let standing = call
        .app()
        .auth
        .standing(&call.caller, &project.name)
        .await?;
    let Some(rights) = standing else {
        return Ok(Vec::new());
    };
    let all = role::actions_of_roles()
        .flat_map(|(resource, actions)| actions.iter().map(move |action| (resource, action)));
    Ok(all
        .filter(|&(resource, action)| rights.may(resource, action))
        .collect())
}

async fn on_system(call: &Call) -> Result<Vec<(Resource, Action)>> {
    let mut rights = Vec::new();
    for (resource, actions) in SYSTEM_RIGHTS {
        for action in *actions {
            if call.may_on_system(*resource, *action).await? {
                rights.push((*resource, *action));
            }
            // Of people none but administrators may anything, so there is nothing further to ask.
            else if matches!(call.caller.subject, Subject::User(_)) {
                return Ok(rights);
            }
        }
    }
    Ok(rights)
}
