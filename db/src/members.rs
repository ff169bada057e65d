//! Who has which role in which project: people, and groups of people.

use std::collections::HashMap;

use model::{
    Error, Result, What,
    change::Kind,
    id::{GroupId, MemberId, ProjectId, UserId, new_uid},
    role::Role,
    time::Timestamp,
};
use serde_json::json;

use crate::{
    Conn, Tx, changes,
    dialect::{locking, with_numbers},
    generations::Touch,
    projects::{self, Project},
    users::{self, User},
    value::Row,
};

#[derive(Debug, Clone)]
pub struct Member {
    pub id: MemberId,
    pub entity: Entity,
    /// The user's or the group's.
    pub name: String,
    pub role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entity {
    User(UserId),
    Group(GroupId),
}

/// Somebody who is to become a member.
#[derive(Debug, Clone, Copy)]
pub enum Candidate<'a> {
    User(&'a User),
    Group { id: GroupId, name: &'a str },
}

fn read(row: &Row<'_>) -> Result<Member> {
    let group = row.opt_int(2)?.map(|id| Entity::Group(GroupId(id)));
    Ok(Member {
        id: MemberId(row.int(0)?),
        entity: match group {
            Some(group) => group,
            None => Entity::User(UserId(row.int(1)?)),
        },
        name: row.text(3)?,
        role: role(row.int(4)?)?,
    })
}

/// In order of names, after `after`.
pub async fn list(
    conn: &mut Conn,
    project: &Project,
    after: &str,
    limit: i64,
) -> Result<Vec<Member>> {
    conn.rows(
        "SELECT m.id, m.user_id, m.group_id, COALESCE(u.name, g.name), m.role
           FROM members m
           LEFT JOIN users u ON u.id = m.user_id
           LEFT JOIN user_groups g ON g.id = m.group_id
          WHERE m.project_id = $1 AND COALESCE(u.name, g.name) > $2
          ORDER BY COALESCE(u.name, g.name), m.id
          LIMIT $3",
        &[project.id.into(), after.into(), limit.into()],
        read,
    )
    .await
}

/// In order of names, by page; with this name alone when one is told.
pub async fn page(
    conn: &mut Conn,
    project: ProjectId,
    name: &str,
    offset: i64,
    limit: i64,
) -> Result<Vec<Member>> {
    conn.rows(
        "SELECT m.id, m.user_id, m.group_id, COALESCE(u.name, g.name), m.role
           FROM members m
           LEFT JOIN users u ON u.id = m.user_id
           LEFT JOIN user_groups g ON g.id = m.group_id
          WHERE m.project_id = $1 AND ($2 = '' OR COALESCE(u.name, g.name) = $2)
          ORDER BY COALESCE(u.name, g.name), m.id
          LIMIT $3 OFFSET $4",
        &[project.into(), name.into(), limit.into(), offset.into()],
        read,
    )
    .await
}

/// How many members of each role a project has.
pub async fn count(conn: &mut Conn, project: ProjectId) -> Result<HashMap<Role, i64>> {
    let counts = conn
        .rows(
            "SELECT m.role, COUNT(*) FROM members m WHERE m.project_id = $1 GROUP BY m.role ORDER BY m.role LIMIT 10",
            &[project.into()],
            |row| Ok((role(row.int(0)?)?, row.int(1)?)),
        )
        .await?;
    Ok(counts.into_iter().collect())
}

pub async fn find(conn: &mut Conn, project: ProjectId, id: MemberId) -> Result<Option<Member>> {
    conn.row(
        "SELECT m.id, m.user_id, m.group_id, COALESCE(u.name, g.name), m.role
           FROM members m
           LEFT JOIN users u ON u.id = m.user_id
           LEFT JOIN user_groups g ON g.id = m.group_id
          WHERE m.id = $1 AND m.project_id = $2",
        &[id.into(), project.into()],
        read,
    )
    .await
}

/// The number and the name of a group: by its number, else by its name in the directory, else by its name and its kind, 0 for any.
pub async fn find_group(
    conn: &mut Conn,
    id: i64,
    ldap_dn: &str,
    name: &str,
    kind: i64,
) -> Result<Option<(GroupId, String)>> {
    let read = |row: &Row<'_>| Ok((GroupId(row.int(0)?), row.text(1)?));
    if id > 0 {
        let sql = "SELECT id, name FROM user_groups WHERE id = $1";
        return conn.row(sql, &[id.into()], read).await;
    }
    if !ldap_dn.is_empty() {
        let sql = "SELECT id, name FROM user_groups WHERE ldap_dn = $1 ORDER BY id LIMIT 1";
        return conn.row(sql, &[ldap_dn.into()], read).await;
    }
    let sql = "SELECT id, name FROM user_groups WHERE name = $1 AND ($2 = 0 OR kind = $2)";
    conn.row(sql, &[name.into(), kind.into()], read).await
}

/// The roles that a user has in these projects, himself and by his groups: the greatest first, each once.
pub async fn roles_of(
    conn: &mut Conn,
    user: UserId,
    projects: &[ProjectId],
) -> Result<HashMap<i64, Vec<Role>>> {
    let ids = json!(projects).to_string();
    let sql = with_numbers!(
        conn,
        "SELECT m.project_id, m.role
           FROM members m
          WHERE (m.user_id = $1 OR m.group_id IN (SELECT g.group_id FROM group_users g WHERE g.user_id = $1))
            AND m.project_id IN",
        "$2",
        "ORDER BY m.project_id, m.role LIMIT 100000"
    );
    let rows = conn
        .rows(sql, &[user.into(), (&ids).into()], |row| {
            Ok((row.int(0)?, role(row.int(1)?)?))
        })
        .await?;
    let mut all: HashMap<i64, Vec<Role>> = HashMap::new();
    for (project, role) in rows {
        all.entry(project).or_default().push(role);
    }
    for roles in all.values_mut() {
        *roles = Role::sorted(roles);
    }
    Ok(all)
}

pub(crate) fn role(number: i64) -> Result<Role> {
    Role::from_number(number)
        .ok_or_else(|| Error::Internal(anyhow::anyhow!("unknown role {number} in the database")))
}

/// Makes somebody a member who is none yet.
pub async fn insert(
    tx: &mut Tx,
    project: &Project,
    candidate: Candidate<'_>,
    role: Role,
    now: Timestamp,
) -> Result<MemberId> {
    projects::hold(tx, project.id).await?;
    let (user, group, name) = match candidate {
        Candidate::User(user) => {
            users::hold(tx, user).await?;
            (Some(user.id.0), None, user.name.as_str())
        }
        Candidate::Group { id, name } => {
            hold_group(tx, id, name).await?;
            (None, Some(id.0), name)
        }
    };
    let id = tx
        .row(
            "INSERT INTO members (uid, project_id, user_id, group_id, role, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $6)
             ON CONFLICT DO NOTHING
             RETURNING id",
            &[
                (&new_uid()).into(),
                project.id.into(),
                user.into(),
                group.into(),
                role.number().into(),
                now.into(),
            ],
            |row| Ok(MemberId(row.int(0)?)),
        )
        .await?
        .ok_or_else(known)?;
    let told = (Kind::MemberAdded, Some(role));
    tell(tx, project, name, group.is_some(), told, now).await?;
    Ok(id)
}

/// Refuses somebody who is a member already.
pub async fn refuse_known(conn: &mut Conn, project: ProjectId, entity: Entity) -> Result<()> {
    let (user, group) = match entity {
        Entity::User(id) => (id.0, 0),
        Entity::Group(id) => (0, id.0),
    };
    let is_known = conn
        .exists(
            "SELECT 1 FROM members m WHERE m.project_id = $1 AND (m.user_id = $2 OR m.group_id = $3)",
            &[project.into(), user.into(), group.into()],
        )
        .await?;
    if is_known {
        return Err(known());
    }
    Ok(())
}

fn known() -> Error {
    Error::Conflict("The project member specified already exist".to_owned())
}

async fn hold_group(tx: &mut Tx, id: GroupId, name: &str) -> Result<()> {
    let sql = locking!(tx, "SELECT 1 FROM user_groups WHERE id = $1", "FOR SHARE");
    if tx.exists(sql, &[id.into()]).await? {
        return Ok(());
    }
    Err(Error::not_found(
        What::Member,
        format!("user group `{name}` not found"),
    ))
}

/// Gives a member another role.
pub async fn set_role(
    tx: &mut Tx,
    project: &Project,
    member: &Member,
    role: Role,
    now: Timestamp,
) -> Result<()> {
    tx.execute(
        "UPDATE members SET role = $3, updated_at = $4 WHERE id = $1 AND project_id = $2",
        &[
            member.id.into(),
            project.id.into(),
            role.number().into(),
            now.into(),
        ],
    )
    .await?;
    let is_group = matches!(member.entity, Entity::Group(_));
    let told = (Kind::MemberUpdated, Some(role));
    tell(tx, project, &member.name, is_group, told, now).await
}

pub async fn delete(tx: &mut Tx, project: &Project, member: &Member, now: Timestamp) -> Result<()> {
    tx.execute(
        "DELETE FROM members WHERE id = $1 AND project_id = $2",
        &[member.id.into(), project.id.into()],
    )
    .await?;
    let is_group = matches!(member.entity, Entity::Group(_));
    let told = (Kind::MemberRemoved, None);
    tell(tx, project, &member.name, is_group, told, now).await
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
    let uid = new_uid();
    let kept = tx
        .row(
            "INSERT INTO members (uid, project_id, user_id, role, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $5)
             ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role, updated_at = excluded.updated_at
             RETURNING uid",
            &[(&uid).into(), project.id.into(), user.id.into(), role.number().into(), now.into()],
            |row| row.text(0),
        )
        .await?;
    let kind = if kept.as_ref() == Some(&uid) {
        Kind::MemberAdded
    } else {
        Kind::MemberUpdated
    };
    tell(tx, project, &user.name, false, (kind, Some(role)), now).await
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
    let told = (Kind::MemberRemoved, None);
    tell(tx, project, &user.name, false, told, now).await
}

/// Of a role that somebody has now, or of none.
async fn tell(
    tx: &mut Tx,
    project: &Project,
    name: &str,
    is_group: bool,
    (kind, role): (Kind, Option<Role>),
    now: Timestamp,
) -> Result<()> {
    tx.touch(Touch::Rights);
    let (key, entity) = (
        format!("{}/{name}", project.name),
        if is_group { "group" } else { "user" },
    );
    let mut payload = json!({ "entity": entity });
    if let Some(role) = role {
        payload["role"] = role.as_str().into();
    }
    changes::append(tx, kind, &key, Some(project.id), &payload, now).await
}
