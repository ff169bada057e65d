//! The audit: who did what. Everybody reads what concerns the projects whose log he may see.

use auth::Subject;
use db::{
    audit::list::{self, LIST, Shown},
    query::Within,
};
use model::{
    Error as Cause,
    audit::Event,
    permission::{Action, Resource},
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
    let within = readable(&call).await?;
    rows(&call, within).await
}

pub(super) async fn list_older(call: Call) -> Result<Listed<AuditLog>> {
    let within = readable(&call).await?;
    rows(&call, within).await
}

pub(super) async fn of_project(call: Call) -> Result<Listed<AuditLogExt>> {
    rows(&call, list::of_project(call.project())).await
}

pub(super) async fn of_project_older(call: Call) -> Result<Listed<AuditLog>> {
    rows(&call, list::of_project(call.project())).await
}

/// The types that `disabled_audit_log_event_types` may name.
pub(super) async fn event_types(_: Call) -> Result<Json<Vec<AuditLogEventType>>> {
    let types = Event::ALL.iter().map(|event| AuditLogEventType {
        event_type: event.as_str(),
    });
    Ok(Json(types.collect()))
}

async fn rows<T: From<Shown> + Send + 'static>(call: &Call, within: Within) -> Result<Listed<T>> {
    let Wanted { listing, page } = call.wanted()?;
    call.listed(LIST.select(&listing, within)?, page, None, T::from)
        .await
}

/// All of it for whoever may list the audit.
async fn readable(call: &Call) -> Result<Within> {
    if call.may_on_system(Resource::AuditLog, Action::List).await? {
        return Ok(Within::all());
    }
    match &call.caller.subject {
        Subject::Anonymous => Err(Cause::Unauthenticated.into()),
        Subject::User(user) => Ok(list::of_admin(user.id)),
        Subject::Robot(robot) => Ok(list::of_robot(robot.id)),
    }
}
