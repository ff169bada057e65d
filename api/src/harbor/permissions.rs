//! What rights there are: the catalogue that robots are made from.

use auth::Subject;
use model::{
    Error as Cause,
    permission::{Action, PROJECT_CATALOGUE, Resource, SYSTEM_CATALOGUE},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{call::Call, error::Result, input::Json};

#[derive(Serialize, JsonSchema)]
pub(super) struct Permission {
    pub(super) resource: &'static str,
    pub(super) action: &'static str,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Permissions {
    /// Null for whoever is no administrator of the system.
    system: Option<Vec<Permission>>,
    project: Vec<Permission>,
}

/// For administrators of the system; of a project's, the project's half.
pub(super) async fn list(call: Call) -> Result<Json<Permissions>> {
    let is_admin = call.caller.is_admin();
    if !is_admin {
        require_some_project(&call).await?;
    }
    Ok(Json(Permissions {
        system: is_admin.then(|| all_of(SYSTEM_CATALOGUE)),
        project: all_of(PROJECT_CATALOGUE),
    }))
}

async fn require_some_project(call: &Call) -> Result<()> {
    let user = match &call.caller.subject {
        Subject::Anonymous => return Err(Cause::Unauthenticated.into()),
        Subject::User(user) => user,
        Subject::Robot(robot) => return Err(Cause::Denied(robot.name.clone()).into()),
    };
    if db::rights::is_some_project_admin(&mut *call.reader().await?, user.id).await? {
        return Ok(());
    }
    Err(Cause::Denied(user.name.clone()).into())
}

fn all_of(catalogue: &[(Resource, &'static [Action])]) -> Vec<Permission> {
    catalogue
        .iter()
        .flat_map(|(resource, actions)| {
            actions.iter().map(|action| Permission {
                resource: resource.as_str(),
                action: action.as_str(),
            })
        })
        .collect()
}
