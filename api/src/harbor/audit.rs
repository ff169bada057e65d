//! The audit: who did what. Everybody reads what concerns the projects whose log he may see.

use auth::Subject;
use db::{
    audit::list::{self, LIST, Shown},
    counters::{self, Counter},
    query::Within,
    robots,
};
use model::{
    Error as Cause,
    audit::Event,
    id::ProjectId,
    permission::{Action, Resource},
    robot::Scope,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{answer::Listed, call::Call, error::Result, input::Json, page::Wanted};

#[derive(Serialize, JsonSchema)]
pub(super) struct AuditLogExt {
    id: i64,
    resource: String,
    resource_type: String,
    username: String,
    operation: String,
    operation_description: String,
    operation_result: bool,
    op_time: String,
    /// Where the client was; not in Harbor.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_address: Option<String>,
}

/// The older form of the same rows.
#[derive(Serialize, JsonSchema)]
pub(super) struct AuditLog {
    id: i64,
    username: String,
    resource: String,
    resource_type: String,
    operation: String,
    op_time: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct AuditLogEventType {
    event_type: &'static str,
}

impl From<Shown> for AuditLogExt {
    fn from(row: Shown) -> Self {
        Self {
            id: row.id,
            resource: row.resource,
            resource_type: row.resource_type,
            username: row.actor,
            operation: row.operation,
            operation_description: row.description.unwrap_or_default(),
            operation_result: row.succeeded,
            op_time: row.at.rfc3339(),
            client_address: row.address,
        }
    }
}

impl From<Shown> for AuditLog {
    fn from(row: Shown) -> Self {
        Self {
            id: row.id,
            username: row.actor,
            resource: row.resource,
            resource_type: row.resource_type,
            operation: row.operation,
            op_time: row.at.rfc3339(),
        }
    }
}

pub(super) async fn list(call: Call) -> Result<Listed<AuditLogExt>> {
    readable(&call).await?.rows(&call).await
}

pub(super) async fn list_older(call: Call) -> Result<Listed<AuditLog>> {
    readable(&call).await?.rows(&call).await
}

pub(super) async fn of_project(call: Call) -> Result<Listed<AuditLogExt>> {
    Part::of(call.project()).rows(&call).await
}

pub(super) async fn of_project_older(call: Call) -> Result<Listed<AuditLog>> {
    Part::of(call.project()).rows(&call).await
}

/// The types that `disabled_audit_log_event_types` may name.
pub(super) async fn event_types(_: Call) -> Result<Json<Vec<AuditLogEventType>>> {
    let types = Event::ALL.iter().map(|event| AuditLogEventType {
        event_type: event.as_str(),
    });
    Ok(Json(types.collect()))
}

/// Some of the audit, and the projects whose counters know how many rows that is, 0 for all of it; none where nothing counts them.
struct Part(Within, Option<Vec<i64>>);

impl Part {
    fn of(project: ProjectId) -> Self {
        Self(list::of_project(project), Some(vec![project.0]))
    }

    fn nothing() -> Self {
        Self(Within::all().and("FALSE", []), Some(Vec::new()))
    }

    async fn rows<T: From<Shown> + Send + 'static>(self, call: &Call) -> Result<Listed<T>> {
        let Wanted { listing, page } = call.wanted()?;
        let Self(within, counted) = self;
        let selection = LIST.select(&listing, within)?;
        let known = match counted {
            Some(projects) => {
                let of = |project| Counter::Audit(Some(ProjectId(project)));
                let reader = &mut *call.reader().await?;
                let counts = counters::values(reader, of, &projects).await?;
                Some(counts.values().sum())
            }
            None => None,
        };
        call.listed(selection, page, known, T::from).await
    }
}

/// All of it for whoever may list the audit, else what concerns the projects whose log he may list.
async fn readable(call: &Call) -> Result<Part> {
    if call.may_on_system(Resource::AuditLog, Action::List).await? {
        return Ok(Part(Within::all(), Some(vec![0])));
    }
    match &call.caller.subject {
        Subject::Anonymous => Err(Cause::Unauthenticated.into()),
        Subject::User(user) => {
            let projects = list::administered(&mut *call.reader().await?, user.id).await?;
            Ok(match projects[..] {
                [] => Part::nothing(),
                [project] => Part::of(project),
                ref projects => {
                    let counted = projects.iter().map(|project| project.0);
                    Part(list::of_admin(user.id), Some(counted.collect()))
                }
            })
        }
        Subject::Robot(robot) => {
            let own = robots::permissions(&mut *call.reader().await?, robot.id).await?;
            let scopes = own
                .iter()
                .filter(|one| one.resource == Resource::Log && one.action == Action::List)
                .map(|one| one.scope);
            Ok(match scopes.collect::<Vec<_>>()[..] {
                [] => Part::nothing(),
                [Scope::Project(project)] => Part::of(project),
                ref scopes if scopes.contains(&Scope::EveryProject) => {
                    Part(list::of_all_projects(), None)
                }
                _ => Part(list::of_robot(robot.id), None),
            })
        }
    }
}
