//! Robots: accounts of programs, on the system or in one project.

mod wanted;

use std::sync::Arc;

use auth::Subject;
use db::{
    Conn,
    robots::{self, Creator, NewRobot, Robot as Row},
};
use model::{
    Error as Cause, What,
    id::{ProjectId, RobotId},
    listing::Match,
    name::check_password,
    permission::{Action, Resource},
    robot::{Scope, full_name},
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    access,
    answer::{Done, Listed, Made},
    call::Call,
    error::{Error, Result},
    input::Json,
    page::Wanted as Asked,
};
use wanted::Wanted;

/// Seconds since 1970 of a robot that never expires.
const NEVER: i64 = -1;

#[derive(Deserialize, JsonSchema)]
pub(super) struct RobotCreate {
    #[serde(default)]
    name: String,
    description: Option<String>,
    /// `system` or `project`.
    #[serde(default)]
    level: String,
    /// Days until it expires, -1 for never; what the setting `robot_token_duration` says when absent.
    duration: Option<i64>,
    #[serde(default)]
    permissions: Vec<RobotPermission>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct RobotPermission {
    /// `system` or `project`.
    #[serde(default)]
    kind: String,
    /// `/` for the system, a project's name, or `*` for every project.
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    access: Vec<Access>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Access {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    action: String,
    /// Empty, which allows; nothing else is supported.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    effect: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct RobotCreated {
    id: i64,
    /// The full name, as the robot signs in.
    name: String,
    /// Shown this once.
    secret: String,
    creation_time: String,
    /// Seconds since 1970, -1 for never.
    expires_at: i64,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Robot {
    id: i64,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    level: &'static str,
    duration: i64,
    editable: bool,
    disable: bool,
    expires_at: i64,
    permissions: Vec<RobotPermission>,
    creator_type: &'static str,
    creator_ref: i64,
    creation_time: String,
    update_time: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "RobotUpdate")]
pub(super) struct RobotEdit {
    /// The full name; it cannot be changed.
    #[serde(default)]
    name: String,
    description: Option<String>,
    #[serde(default)]
    level: String,
    /// As it was when absent.
    duration: Option<i64>,
    #[serde(default)]
    disable: bool,
    #[serde(default)]
    permissions: Vec<RobotPermission>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct RobotSec {
    /// Empty for one that is made up and answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    secret: String,
}

/// A mistake in the request is told before anybody is asked who he is, as with Harbor.
pub(super) async fn create(
    call: Call,
    Json(asked): Json<RobotCreate>,
) -> Result<Made<RobotCreated>> {
    let name = asked.name.parse()?;
    let settings = call.settings().await?;
    let duration = asked.duration.unwrap_or(settings.robot_token_duration());
    let wanted = Wanted::of(&asked.level, duration, &asked.permissions)?;
    let granted = wanted.grant(&call, Action::Create).await?;
    let secret = auth::robots::new_secret()?;
    let now = call.db().now().await?;
    let new = NewRobot {
        project: granted.project,
        name,
        description: asked.description,
        secret: secret.hash,
        duration,
        creator: creator(&call),
        expires_at: expiry(now, duration),
        permissions: granted.permissions,
    };
    let full = full_name(
        settings.robot_name_prefix(),
        granted.project_name.as_deref(),
        new.name.as_str(),
    );
    let expires_at = new.expires_at;
    let told = full.clone();
    let id = call
        .db()
        .write(move |tx| {
            let (new, full) = (new.clone(), full.clone());
            Box::pin(async move { robots::insert(tx, &new, &full, now).await })
        })
        .await?;
    Ok(Made {
        name: id.to_string(),
        body: RobotCreated {
            id: id.0,
            name: told,
            secret: secret.text,
            creation_time: now.rfc3339(),
            expires_at: expires_at.map_or(NEVER, Timestamp::seconds),
        },
    })
}

/// Those of the system; with `q=Level=project,ProjectID=<number>` those of a project.
pub(super) async fn list(call: Call) -> Result<Listed<Robot>> {
    let Asked { listing, page } = call.wanted()?;
    let exact = |key: &str| match listing.filters.get(key) {
        Some(Match::Exact(text)) => Some(text.as_str()),
        _ => None,
    };
    let within = match exact("Level").or(exact("level")) {
        None | Some("system") => {
            call.require_on_system(Resource::Robot, Action::List)
                .await?;
            robots::of_system()
        }
        Some("project") => {
            let told = exact("ProjectID")
                .or(exact("project_id"))
                .unwrap_or_default();
            let id: i64 = told.parse().ok().filter(|id| *id > 0).ok_or_else(|| {
                invalid("bad request with project id missing or not a positive number: add ProjectID=<number> to q")
            })?;
            access::require_in_id(&call, ProjectId(id), Resource::Robot, Action::List).await?;
            robots::of_project(ProjectId(id))
        }
        Some(other) => return Err(invalid(format!("bad request error level input: {other}"))),
    };
    let selection = robots::LIST.select(&listing, within)?;
    let prefix: Arc<str> = call.settings().await?.robot_name_prefix().into();
    call.listed_by(selection, page, None, move |conn, rows| {
        let prefix = prefix.clone();
        Box::pin(async move { show(conn, &prefix, rows).await })
    })
    .await
}

pub(super) async fn get(call: Call) -> Result<Json<Robot>> {
    let row = find(&call, Action::Read).await?;
    let settings = call.settings().await?;
    let prefix = settings.robot_name_prefix();
    let mut shown = show(&mut *call.reader().await?, prefix, vec![row]).await?;
    shown.pop().map(Json).ok_or_else(|| missing(&call))
}

/// Name and level stay as they are; the permissions are replaced.
pub(super) async fn update(call: Call, Json(asked): Json<RobotEdit>) -> Result<Done> {
    let row = find(&call, Action::Update).await?;
    let full = name_of(&call, &row).await?;
    if asked.name != full || asked.level != level(&row) {
        return Err(invalid("a robot's name and level cannot be changed"));
    }
    let duration = asked.duration.unwrap_or(row.duration);
    let wanted = Wanted::of(&asked.level, duration, &asked.permissions)?;
    let granted = wanted.grant(&call, Action::Update).await?;
    if granted.project != row.project {
        return Err(invalid("a robot's project cannot be changed"));
    }
    let edit = robots::Edit {
        description: asked.description,
        disabled: asked.disable,
        duration,
        expires_at: if duration == row.duration {
            row.expires_at
        } else {
            expiry(row.created_at, duration)
        },
        permissions: granted.permissions,
    };
    call.db()
        .write(move |tx| {
            let (row, full, edit) = (row.clone(), full.clone(), edit.clone());
            Box::pin(async move {
                let now = tx.now().await?;
                robots::update(tx, &row, &full, &edit, now).await
            })
        })
        .await?;
    Ok(Done)
}

/// A new secret: the caller's own, or one that is made up and told this once.
pub(super) async fn refresh(call: Call, Json(asked): Json<RobotSec>) -> Result<Json<RobotSec>> {
    let row = find(&call, Action::Update).await?;
    let full = name_of(&call, &row).await?;
    let (hash, told) = if asked.secret.is_empty() {
        let new = auth::robots::new_secret()?;
        (new.hash, new.text)
    } else {
        check_password(&asked.secret)?;
        (
            call.app().auth.hash_password(asked.secret).await?,
            String::new(),
        )
    };
    call.db()
        .write(move |tx| {
            let (row, full, hash) = (row.clone(), full.clone(), hash.clone());
            Box::pin(async move {
                let now = tx.now().await?;
                robots::set_secret(tx, &row, &full, &hash, now).await
            })
        })
        .await?;
    Ok(Json(RobotSec { secret: told }))
}

pub(super) async fn delete(call: Call) -> Result<Done> {
    let row = find(&call, Action::Delete).await?;
    let full = name_of(&call, &row).await?;
    call.db()
        .write(move |tx| {
            let (row, full) = (row.clone(), full.clone());
            Box::pin(async move {
                let now = tx.now().await?;
                robots::delete(tx, &row, &full, now).await
            })
        })
        .await?;
    Ok(Done)
}

/// The robot of the path, when the caller may do this to robots where it belongs.
async fn find(call: &Call, action: Action) -> Result<Row> {
    if !call.caller.is_authenticated() {
        return Err(Cause::Unauthenticated.into());
    }
    let id = RobotId(call.number("robot_id")?);
    let found = robots::find(&mut *call.reader().await?, id).await?;
    let row = found.ok_or_else(|| missing(call))?;
    match &row.project_name {
        Some(project) => access::require_in(call, project, Resource::Robot, action).await?,
        None => call.require_on_system(Resource::Robot, action).await?,
    }
    Ok(row)
}

/// As the API shows them; their permissions in one query.
async fn show(conn: &mut Conn, prefix: &str, rows: Vec<Row>) -> Result<Vec<Robot>, Cause> {
    let ids: Vec<RobotId> = rows.iter().map(|row| row.id).collect();
    let granted = robots::granted(conn, &ids).await?;
    let of = |id: RobotId| {
        let mut permissions: Vec<RobotPermission> = Vec::new();
        for one in granted.iter().filter(|one| one.robot == id) {
            let (kind, namespace) = place(one);
            let access = Access {
                resource: one.permission.resource.as_str().to_owned(),
                action: one.permission.action.as_str().to_owned(),
                effect: String::new(),
            };
            match permissions.last_mut() {
                Some(last) if last.kind == kind && last.namespace == namespace => {
                    last.access.push(access);
                }
                _ => permissions.push(RobotPermission {
                    kind: kind.to_owned(),
                    namespace: namespace.to_owned(),
                    access: vec![access],
                }),
            }
        }
        permissions
    };
    let shown = rows.into_iter().map(|row| Robot {
        permissions: of(row.id),
        id: row.id.0,
        name: full_name(prefix, row.project_name.as_deref(), &row.name),
        level: level(&row),
        duration: row.duration,
        editable: true,
        disable: row.disabled,
        expires_at: row.expires_at.map_or(NEVER, Timestamp::seconds),
        creator_type: row.creator.kind(),
        creator_ref: row.creator.number(),
        creation_time: row.created_at.rfc3339(),
        update_time: row.updated_at.rfc3339(),
        description: row.description,
    });
    Ok(shown.collect())
}

fn place(granted: &robots::Granted) -> (&'static str, &str) {
    match granted.permission.scope {
        Scope::System => ("system", "/"),
        Scope::EveryProject => ("project", "*"),
        Scope::Project(_) => (
            "project",
            granted.project_name.as_deref().unwrap_or_default(),
        ),
    }
}

fn level(row: &Row) -> &'static str {
    if row.project.is_some() {
        "project"
    } else {
        "system"
    }
}

async fn name_of(call: &Call, row: &Row) -> Result<String> {
    let settings = call.settings().await?;
    let prefix = settings.robot_name_prefix();
    Ok(full_name(prefix, row.project_name.as_deref(), &row.name))
}

fn creator(call: &Call) -> Creator {
    match &call.caller.subject {
        Subject::Robot(robot) => Creator::Robot(robot.id.0),
        Subject::User(user) => Creator::User(user.id.0),
        Subject::Anonymous => Creator::User(0),
    }
}

fn expiry(from: Timestamp, days: i64) -> Option<Timestamp> {
    let hours = u64::try_from(days).ok()?.saturating_mul(24);
    Some(from.plus(std::time::Duration::from_hours(hours)))
}

fn missing(call: &Call) -> Error {
    Cause::not_found(
        What::Robot,
        format!("robot {} not found", call.param("robot_id")),
    )
    .into()
}

fn invalid(why: impl Into<String>) -> Error {
    Cause::invalid(What::Robot, why).into()
}
