//! The audit as people read it: the newest first, filtered as they ask. What is kept for forwarding alone is none of it.

use model::{
    Result,
    id::{ProjectId, RobotId, UserId},
    role::Role,
    time::Timestamp,
};

use crate::{
    Conn,
    query::{Field, Kind as Of, List, Within},
    value::Row,
};

/// A row as it is shown.
#[derive(Debug, Clone)]
pub struct Shown {
    pub id: i64,
    pub at: Timestamp,
    pub actor: String,
    pub address: Option<String>,
    pub operation: String,
    pub resource_type: String,
    pub resource: String,
    pub description: Option<String>,
    pub succeeded: bool,
}

fn read(row: &Row<'_>) -> Result<Shown> {
    Ok(Shown {
        id: row.int(0)?,
        at: row.time(1)?,
        actor: row.text(2)?,
        address: row.opt_text(3)?,
        operation: row.text(4)?,
        resource_type: row.text(5)?,
        resource: row.text(6)?,
        description: row.opt_text(7)?,
        succeeded: row.bool(8)?,
    })
}

pub static LIST: List<Shown> = List {
    table: "audit a",
    always: "NOT a.forward_only",
    joins: "",
    columns: &[
        "a.id",
        "a.at",
        "a.actor",
        "a.address",
        "a.operation",
        "a.resource_type",
        "a.resource",
        "a.description",
        "a.succeeded",
    ],
    read,
    id: "a.id",
    fields: &[
        Field::new(&["id", "ID"], "a.id", Of::Number)
            .indexed()
            .unique(),
        Field::new(&["op_time", "OpTime"], "a.at", Of::Time).indexed(),
        Field::new(&["username", "Username"], "a.actor", Of::Text),
        Field::new(&["operation", "Operation"], "a.operation", Of::Text),
        Field::new(
            &["resource_type", "ResourceType"],
            "a.resource_type",
            Of::Text,
        ),
        Field::new(&["resource", "Resource"], "a.resource", Of::Text),
        Field::new(
            &["operation_description", "OperationDescription", "op_desc"],
            "a.description",
            Of::Text,
        )
        .nullable(),
        Field::new(
            &["operation_result", "OperationResult", "op_result"],
            "a.succeeded",
            Of::Bool,
        ),
        Field::new(&["client_address"], "a.address", Of::Text).nullable(),
        Field::new(&["project_id", "ProjectID"], "a.project_id", Of::Number).nullable(),
    ],
    order: &[("op_time", true)],
};

/// Of the list: what concerns a project.
pub fn of_project(project: ProjectId) -> Within {
    Within::all().and("a.project_id = $1", [project.0.into()])
}

/// Of the list: what concerns the projects whose log this user may read, which are those that he administers.
pub fn of_admin(user: UserId) -> Within {
    Within::all().and(
        "a.project_id IN (SELECT m.project_id FROM members m WHERE m.role = $2 AND m.user_id = $1)
          OR a.project_id IN (SELECT m.project_id FROM group_users g JOIN members m ON m.group_id = g.group_id
                               WHERE m.role = $2 AND g.user_id = $1)",
        [user.0.into(), Role::ProjectAdmin.number().into()],
    )
}

/// Of the list: what concerns the projects of which this robot was told by name that it may read their log.
pub fn of_robot(robot: RobotId) -> Within {
    Within::all().and(
        "a.project_id IN (SELECT p.scope FROM robot_permissions p
                           WHERE p.robot_id = $1 AND p.resource = 'log' AND p.action = 'list' AND p.scope > 0)",
        [robot.0.into()],
    )
}

/// Of the list: what concerns any project.
pub fn of_all_projects() -> Within {
    Within::all().and("a.project_id IS NOT NULL", [])
}

/// The projects that somebody administers, himself or by a group.
pub async fn administered(conn: &mut Conn, user: UserId) -> Result<Vec<ProjectId>> {
    conn.rows(
        "SELECT m.project_id FROM members m WHERE m.role = $2 AND m.user_id = $1
          UNION
         SELECT m.project_id FROM group_users g JOIN members m ON m.group_id = g.group_id WHERE m.role = $2 AND g.user_id = $1
          ORDER BY 1
          LIMIT 10000",
        &[user.into(), Role::ProjectAdmin.number().into()],
        |row| Ok(ProjectId(row.int(0)?)),
    )
    .await
}
