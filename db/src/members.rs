//! Who has which role in which project.

use model::{
    Error, Result, What,
    change::Kind,
    id::{UserId, new_uid},
    role::Role,
    time::Timestamp,
};
use serde_json::json;

use crate::{
    Conn, Tx, changes,
    generations::Touch,
    projects::{self, Project},
    users::{self, User},
};

#[derive(Debug, Clone)]
pub struct Member {
    pub user: UserId,
    pub user_name: String,
    pub role: Role,
}

/// In order of user names.
pub async fn list(
    conn: &mut Conn,
    project: &Project,
    after: &str,
    limit: i64,
) -> Result<Vec<Member>> {
    conn.rows(
        "SELECT m.user_id, u.name, m.role
           FROM members m
           JOIN users u ON u.id = m.user_id
          WHERE m.project_id = $1 AND u.name > $2
          ORDER BY u.name
          LIMIT $3",
        &[project.id.into(), after.into(), limit.into()],
        |row| {
            Ok(Member {
                user: UserId(row.int(0)?),
                user_name: row.text(1)?,
                role: role(row.int(2)?)?,
            })
        },
    )
    .await
}

pub(crate) fn role(number: i64) -> Result<Role> {
    Role::from_number(number)
        .ok_or_else(|| Error::Internal(anyhow::anyhow!("unknown role {number} in the database")))
}

/// Gives the user this role in the project, instead of the one he had there.
pub async fn set(
    tx: &mut Tx,
    project: &Project,
    user: &User,
    role: Role,
    now: Timestamp,
) -> Result<()> {
    projects::hold(tx, project.id).await?;
    users::hold(tx, user).await?;
    tx.execute(
        "INSERT INTO members (uid, project_id, user_id, role, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $5)
         ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role, updated_at = excluded.updated_at",
        &[(&new_uid()).into(), project.id.into(), user.id.into(), role.number().into(), now.into()],
    )
    .await?;
    tx.touch(Touch::Rights);
    let key = format!("{}/{}", project.name, user.name);
    changes::append(
        tx,
        Kind::MemberSet,
        &key,
        &json!({ "role": role.as_str() }),
        now,
    )
    .await
}

pub async fn remove(tx: &mut Tx, project: &Project, user: &User, now: Timestamp) -> Result<()> {
    let removed = tx
        .execute(
            "DELETE FROM members WHERE project_id = $1 AND user_id = $2",
            &[project.id.into(), user.id.into()],
        )
        .await?;
    if removed == 0 {
        return Err(Error::not_found(
            What::Member,
            format!(
                "`{}` is not a member of project `{}`",
                user.name, project.name
            ),
        ));
    }
    tx.touch(Touch::Rights);
    let key = format!("{}/{}", project.name, user.name);
    changes::append(tx, Kind::MemberRemoved, &key, &json!({}), now).await
}
