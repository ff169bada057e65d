//! Robots and what each may do.

use model::{
    Error, Result, What,
    change::Kind,
    id::{ProjectId, RobotId, new_uid},
    name::RobotName,
    permission::{Action, Resource},
    robot::{Permission, Scope},
    time::Timestamp,
};
use serde_json::json;

use crate::{
    Conn, Tx,
    blobs::json_numbers,
    changes,
    dialect::with_numbers,
    generations::Touch,
    projects,
    query::{Field, Kind as Of, List, Within},
    value::Row,
};

#[derive(Debug, Clone)]
pub struct Robot {
    pub id: RobotId,
    pub uid: String,
    /// The project it belongs to; none for a robot of the system.
    pub project: Option<ProjectId>,
    pub project_name: Option<String>,
    /// Its own part of the name, without prefix and project.
    pub name: String,
    /// The hash of its secret.
    pub secret: String,
    pub disabled: bool,
    pub expires_at: Option<Timestamp>,
    pub version: i64,
    pub created_at: Timestamp,
    pub description: Option<String>,
    /// Days from its creation to its end, -1 for ever.
    pub duration: i64,
    pub creator: Creator,
    pub updated_at: Timestamp,
}

/// Who made a robot: a user, or another robot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creator {
    User(i64),
    Robot(i64),
}

impl Creator {
    /// Harbor's word for the kind.
    pub fn kind(self) -> &'static str {
        match self {
            Self::User(_) => "local",
            Self::Robot(_) => "robot",
        }
    }

    pub fn number(self) -> i64 {
        let (Self::User(id) | Self::Robot(id)) = self;
        id
    }
}

#[derive(Debug, Clone)]
pub struct NewRobot {
    pub project: Option<ProjectId>,
    pub name: RobotName,
    pub description: Option<String>,
    /// The hash of its secret.
    pub secret: String,
    /// Days, -1 for ever.
    pub duration: i64,
    pub creator: Creator,
    pub expires_at: Option<Timestamp>,
    pub permissions: Vec<Permission>,
}

/// What an update replaces.
#[derive(Debug, Clone)]
pub struct Edit {
    pub description: Option<String>,
    pub disabled: bool,
    pub duration: i64,
    pub expires_at: Option<Timestamp>,
    pub permissions: Vec<Permission>,
}

fn read(row: &Row<'_>) -> Result<Robot> {
    Ok(Robot {
        id: RobotId(row.int(0)?),
        uid: row.text(1)?,
        project: row.opt_int(2)?.map(ProjectId),
        project_name: row.opt_text(3)?,
        name: row.text(4)?,
        secret: row.text(5)?,
        disabled: row.bool(6)?,
        expires_at: row.opt_time(7)?,
        version: row.int(8)?,
        created_at: row.time(9)?,
        description: row.opt_text(10)?,
        duration: row.int(11)?,
        creator: match row.text(12)?.as_str() {
            "robot" => Creator::Robot(row.int(13)?),
            _ => Creator::User(row.int(13)?),
        },
        updated_at: row.time(14)?,
    })
}

pub async fn find(conn: &mut Conn, id: RobotId) -> Result<Option<Robot>> {
    conn.row(
        "SELECT r.id, r.uid, r.project_id, p.name, r.name, r.secret, r.disabled, r.expires_at, r.version, r.created_at,
                r.description, r.duration, r.creator_kind, r.creator_id, r.updated_at
           FROM robots r
           LEFT JOIN projects p ON p.id = r.project_id
          WHERE r.id = $1",
        &[id.into()],
        read,
    )
    .await
}

/// By its own part of the name, in a project or (none) on the system.
pub async fn find_name(
    conn: &mut Conn,
    project: Option<&str>,
    name: &str,
) -> Result<Option<Robot>> {
    conn.row(
        "SELECT r.id, r.uid, r.project_id, p.name, r.name, r.secret, r.disabled, r.expires_at, r.version, r.created_at,
                r.description, r.duration, r.creator_kind, r.creator_id, r.updated_at
           FROM robots r
           LEFT JOIN projects p ON p.id = r.project_id
          WHERE r.name = $2
            AND COALESCE(r.project_id, 0) = CASE
                    WHEN CAST($1 AS TEXT) IS NULL THEN 0
                    ELSE (SELECT id FROM projects WHERE name = $1 AND deleted_at IS NULL)
                END",
        &[project.into(), name.into()],
        read,
    )
    .await
}

/// As Harbor lists them; those that scanners use for one scan are none of it.
pub static LIST: List<Robot> = List {
    table: "robots r",
    always: "NOT r.hidden",
    joins: " LEFT JOIN projects p ON p.id = r.project_id",
    columns: &[
        "r.id",
        "r.uid",
        "r.project_id",
        "p.name",
        "r.name",
        "r.secret",
        "r.disabled",
        "r.expires_at",
        "r.version",
        "r.created_at",
        "r.description",
        "r.duration",
        "r.creator_kind",
        "r.creator_id",
        "r.updated_at",
    ],
    read,
    id: "r.id",
    fields: &[
        Field::new(&["id", "ID"], "r.id", Of::Number)
            .indexed()
            .unique(),
        Field::new(&["name", "Name"], "r.name", Of::Text),
        Field::new(&["description", "Description"], "r.description", Of::Text).nullable(),
        Field::new(&["disabled", "Disabled", "disable"], "r.disabled", Of::Bool),
        Field::new(&["duration", "Duration"], "r.duration", Of::Number),
        Field::new(&["creation_time", "CreationTime"], "r.created_at", Of::Time),
        Field::new(&["update_time", "UpdateTime"], "r.updated_at", Of::Time),
    ],
    order: &[("id", false)],
};

/// Of the list: those of the system.
pub fn of_system() -> Within {
    Within::all().and("r.project_id IS NULL", [])
}

/// Of the list: those of a project.
pub fn of_project(project: ProjectId) -> Within {
    Within::all().and("r.project_id = $1", [project.0.into()])
}

/// In order of numbers, after `after`.
pub async fn list(conn: &mut Conn, after: RobotId, limit: i64) -> Result<Vec<Robot>> {
    conn.rows(
        "SELECT r.id, r.uid, r.project_id, p.name, r.name, r.secret, r.disabled, r.expires_at, r.version, r.created_at,
                r.description, r.duration, r.creator_kind, r.creator_id, r.updated_at
           FROM robots r
           LEFT JOIN projects p ON p.id = r.project_id
          WHERE r.id > $1
          ORDER BY r.id
          LIMIT $2",
        &[after.into(), limit.into()],
        read,
    )
    .await
}

pub async fn permissions(conn: &mut Conn, id: RobotId) -> Result<Vec<Permission>> {
    conn.rows(
        "SELECT scope, resource, action FROM robot_permissions WHERE robot_id = $1 ORDER BY scope, resource, action LIMIT 10000",
        &[id.into()],
        |row| {
            Ok(Permission {
                scope: Scope::from_number(row.int(0)?),
                resource: row.parsed::<Resource>(1)?,
                action: row.parsed::<Action>(2)?,
            })
        },
    )
    .await
}

/// A permission of one of several robots, with the name of the project where it holds.
#[derive(Debug, Clone)]
pub struct Granted {
    pub robot: RobotId,
    pub project_name: Option<String>,
    pub permission: Permission,
}

/// All that these robots may do, in the order of robots and scopes.
pub async fn granted(conn: &mut Conn, robots: &[RobotId]) -> Result<Vec<Granted>> {
    let list = json_numbers(robots.iter().map(|id| id.0));
    let sql = with_numbers!(
        conn,
        "SELECT g.robot_id, p.name, g.scope, g.resource, g.action
           FROM robot_permissions g
           LEFT JOIN projects p ON p.id = g.scope
          WHERE g.robot_id IN",
        "$1",
        "ORDER BY g.robot_id, g.scope, g.resource, g.action LIMIT 1000000"
    );
    conn.rows(sql, &[(&list).into()], |row| {
        Ok(Granted {
            robot: RobotId(row.int(0)?),
            project_name: row.opt_text(1)?,
            permission: Permission {
                scope: Scope::from_number(row.int(2)?),
                resource: row.parsed::<Resource>(3)?,
                action: row.parsed::<Action>(4)?,
            },
        })
    })
    .await
}

pub async fn insert(
    tx: &mut Tx,
    new: &NewRobot,
    full_name: &str,
    now: Timestamp,
) -> Result<RobotId> {
    if let Some(project) = new.project {
        projects::hold(tx, project).await?;
    }
    let uid = new_uid();
    // The version begins with the time, as users' do.
    let id = tx
        .row(
            "INSERT INTO robots (uid, project_id, name, description, secret, expires_at, duration, creator_kind, creator_id, created_at, updated_at, version)
             VALUES ($1, $2, $3, $4, $5, $6, $8, $9, $10, $7, $7, $7)
             ON CONFLICT DO NOTHING
             RETURNING id",
            &[
                (&uid).into(),
                new.project.into(),
                new.name.as_str().into(),
                (&new.description).into(),
                (&new.secret).into(),
                new.expires_at.into(),
                now.into(),
                new.duration.into(),
                new.creator.kind().into(),
                new.creator.number().into(),
            ],
            |row| row.int(0),
        )
        .await?
        .ok_or_else(|| Error::Conflict(format!("a robot named `{full_name}` already exists")))?;
    let id = RobotId(id);
    grant(tx, id, &new.permissions).await?;
    tx.touch(Touch::Rights);
    changes::append(
        tx,
        Kind::RobotCreated,
        full_name,
        new.project,
        &json!({ "uid": uid }),
        now,
    )
    .await?;
    Ok(id)
}

async fn grant(tx: &mut Tx, id: RobotId, permissions: &[Permission]) -> Result<()> {
    for permission in permissions {
        tx.execute(
            "INSERT INTO robot_permissions (robot_id, scope, resource, action) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            &[id.into(), permission.scope.number().into(), permission.resource.as_str().into(), permission.action.as_str().into()],
        )
        .await?;
    }
    Ok(())
}

/// Replaces what may be changed; a robot that runs learns it with its next request.
pub async fn update(
    tx: &mut Tx,
    robot: &Robot,
    full_name: &str,
    edit: &Edit,
    now: Timestamp,
) -> Result<()> {
    let rows = tx
        .execute(
            "UPDATE robots SET description = $2, disabled = $3, duration = $4, expires_at = $5, version = version + 1, updated_at = $6 WHERE id = $1",
            &[
                robot.id.into(),
                (&edit.description).into(),
                edit.disabled.into(),
                edit.duration.into(),
                edit.expires_at.into(),
                now.into(),
            ],
        )
        .await?;
    tx.execute(
        "DELETE FROM robot_permissions WHERE robot_id = $1",
        &[robot.id.into()],
    )
    .await?;
    grant(tx, robot.id, &edit.permissions).await?;
    updated(tx, robot, full_name, rows, now).await
}

pub async fn set_secret(
    tx: &mut Tx,
    robot: &Robot,
    full_name: &str,
    secret: &str,
    now: Timestamp,
) -> Result<()> {
    let rows = tx
        .execute(
            "UPDATE robots SET secret = $2, version = version + 1, updated_at = $3 WHERE id = $1",
            &[robot.id.into(), secret.into(), now.into()],
        )
        .await?;
    updated(tx, robot, full_name, rows, now).await
}

pub async fn set_disabled(
    tx: &mut Tx,
    robot: &Robot,
    full_name: &str,
    disabled: bool,
    now: Timestamp,
) -> Result<()> {
    let rows = tx
        .execute(
            "UPDATE robots SET disabled = $2, version = version + 1, updated_at = $3 WHERE id = $1",
            &[robot.id.into(), disabled.into(), now.into()],
        )
        .await?;
    updated(tx, robot, full_name, rows, now).await
}

async fn updated(
    tx: &mut Tx,
    robot: &Robot,
    full_name: &str,
    rows: u64,
    now: Timestamp,
) -> Result<()> {
    if rows == 0 {
        return Err(not_found(full_name));
    }
    tx.touch(Touch::Rights);
    changes::append(
        tx,
        Kind::RobotUpdated,
        full_name,
        robot.project,
        &json!({ "uid": robot.uid }),
        now,
    )
    .await
}

fn not_found(full_name: &str) -> Error {
    Error::not_found(What::Robot, format!("robot `{full_name}` not found"))
}

pub async fn delete(tx: &mut Tx, robot: &Robot, full_name: &str, now: Timestamp) -> Result<()> {
    let deleted = tx
        .execute("DELETE FROM robots WHERE id = $1", &[robot.id.into()])
        .await?;
    if deleted == 0 {
        return Err(not_found(full_name));
    }
    tx.touch(Touch::Rights);
    changes::append(
        tx,
        Kind::RobotDeleted,
        full_name,
        robot.project,
        &json!({ "uid": robot.uid }),
        now,
    )
    .await
}
