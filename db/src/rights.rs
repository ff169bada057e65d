//! What a caller may do in a project, read in one query per request.

use model::{
    Result,
    id::{ProjectId, RobotId, UserId},
    permission::{Action, Resource},
    robot::{Permission, Scope},
    role::Role,
    time::Timestamp,
};

use crate::{Conn, members};

/// The project a name stands for, and the caller's roles there.
#[derive(Debug, Clone)]
pub struct Standing {
    pub project: ProjectId,
    pub public: bool,
    /// What a pull must find signed, see `projects.trust`.
    pub trust: i64,
    /// Whether a quota limits what it may hold.
    pub is_limited: bool,
    pub created_at: Timestamp,
    /// His own, and those of groups that he is in.
    pub roles: Vec<Role>,
}

/// `None` when there is no such project. Without a user there are no roles.
pub async fn standing(
    conn: &mut Conn,
    project: &str,
    user: Option<UserId>,
) -> Result<Option<Standing>> {
    let user = user.map_or(0, |user| user.0);
    let rows = conn
        .rows(
            "SELECT p.id, p.public, p.created_at, m.role, p.trust, q.hard
               FROM projects p
               LEFT JOIN members m ON m.project_id = p.id AND m.user_id = $2
               LEFT JOIN quotas q ON q.project_id = p.id
              WHERE p.name = $1 AND p.deleted_at IS NULL
              UNION ALL
             SELECT p.id, p.public, p.created_at, m.role, p.trust, q.hard
               FROM projects p
               JOIN group_users g ON g.user_id = $2
               JOIN members m ON m.project_id = p.id AND m.group_id = g.group_id
               LEFT JOIN quotas q ON q.project_id = p.id
              WHERE p.name = $1 AND p.deleted_at IS NULL
              LIMIT 10000",
            &[project.into(), user.into()],
            |row| {
                let role = row.opt_int(3)?.map(members::role).transpose()?;
                let standing = Standing {
                    project: ProjectId(row.int(0)?),
                    public: row.bool(1)?,
                    created_at: row.time(2)?,
                    trust: row.int(4)?,
                    is_limited: row.opt_int(5)?.is_some_and(|hard| hard >= 0),
                    roles: Vec::new(),
                };
                Ok((standing, role))
            },
        )
        .await?;
    let roles: Vec<Role> = rows.iter().filter_map(|(_, role)| *role).collect();
    let found = rows.into_iter().next();
    Ok(found.map(|(standing, _)| Standing {
        roles: Role::sorted(&roles),
        ..standing
    }))
}

/// What a robot may do in one project: its own permissions there and those it has on every project.
pub async fn of_robot(
    conn: &mut Conn,
    robot: RobotId,
    project: ProjectId,
) -> Result<Vec<Permission>> {
    conn.rows(
        "SELECT scope, resource, action FROM robot_permissions WHERE robot_id = $1 AND scope IN ($2, -1)
          ORDER BY scope, resource, action
          LIMIT 1000",
        &[robot.into(), project.into()],
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

/// Whether the user administers any project, himself or by a group.
pub async fn is_some_project_admin(conn: &mut Conn, user: UserId) -> Result<bool> {
    conn.exists(
        "SELECT 1 FROM members WHERE user_id = $1 AND role = 1
          UNION ALL
         SELECT 1 FROM group_users g JOIN members m ON m.group_id = g.group_id AND m.role = 1 WHERE g.user_id = $1
          LIMIT 1",
        &[user.into()],
    )
    .await
}
