//! Projects: the first segment of every repository's name, and where members and rights live.

use model::{
    Error, Result, What,
    change::Kind,
    id::{ProjectId, UserId, new_uid},
    name::ProjectName,
    time::Timestamp,
};
use serde_json::json;

use crate::{
    Conn, Tx, changes,
    dialect::locking,
    generations::Touch,
    query::{Field, Kind as Of, List, Within},
    value::Row,
};

#[derive(Debug, Clone)]
pub struct Project {
    pub id: ProjectId,
    pub uid: String,
    pub name: String,
    pub public: bool,
    pub owner: UserId,
    pub created_at: Timestamp,
}

fn read(row: &Row<'_>) -> Result<Project> {
    Ok(Project {
        id: ProjectId(row.int(0)?),
        uid: row.text(1)?,
        name: row.text(2)?,
        public: row.bool(3)?,
        owner: UserId(row.int(4)?),
        created_at: row.time(5)?,
    })
}

pub async fn find(conn: &mut Conn, id: ProjectId) -> Result<Option<Project>> {
    conn.row(
        "SELECT id, uid, name, public, owner_id, created_at FROM projects WHERE id = $1 AND deleted_at IS NULL",
        &[id.into()],
        read,
    )
    .await
}

pub async fn find_name(conn: &mut Conn, name: &str) -> Result<Option<Project>> {
    conn.row(
        "SELECT id, uid, name, public, owner_id, created_at FROM projects WHERE name = $1 AND deleted_at IS NULL",
        &[name.into()],
        read,
    )
    .await
}

pub async fn get_name(conn: &mut Conn, name: &str) -> Result<Project> {
    find_name(conn, name)
        .await?
        .ok_or_else(|| Error::not_found(What::Project, format!("project `{name}` not found")))
}

/// In order of names, after `after`.
pub async fn list(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<Project>> {
    conn.rows(
        "SELECT id, uid, name, public, owner_id, created_at FROM projects
          WHERE deleted_at IS NULL AND name > $1
          ORDER BY name
          LIMIT $2",
        &[after.into(), limit.into()],
        read,
    )
    .await
}

pub async fn insert(
    tx: &mut Tx,
    name: &ProjectName,
    public: bool,
    owner: UserId,
    now: Timestamp,
) -> Result<ProjectId> {
    let uid = new_uid();
    let id = tx
        .row(
            "INSERT INTO projects (uid, name, public, owner_id, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $5)
             ON CONFLICT DO NOTHING
             RETURNING id",
            &[
                (&uid).into(),
                name.as_str().into(),
                public.into(),
                owner.into(),
                now.into(),
            ],
            |row| row.int(0),
        )
        .await?
        .ok_or_else(|| Error::Conflict(format!("The project named {name} already exists")))?;
    tx.touch(Touch::Rights);
    changes::append(
        tx,
        Kind::ProjectCreated,
        name.as_str(),
        &json!({ "uid": uid, "public": public }),
        now,
    )
    .await?;
    Ok(ProjectId(id))
}

/// Makes sure that a project is there and stays until the transaction ends; whoever adds something to it calls this.
pub(crate) async fn hold(tx: &mut Tx, id: ProjectId) -> Result<()> {
    let sql = locking!(
        tx,
        "SELECT 1 FROM projects WHERE id = $1 AND deleted_at IS NULL",
        "FOR SHARE"
    );
    if tx.exists(sql, &[id.into()]).await? {
        return Ok(());
    }
    Err(Error::not_found(
        What::Project,
        "the project was deleted just now",
    ))
}

fn not_found(name: &str) -> Error {
    Error::not_found(What::Project, format!("project `{name}` not found"))
}

pub async fn set_public(
    tx: &mut Tx,
    project: &Project,
    public: bool,
    now: Timestamp,
) -> Result<()> {
    let updated = tx
        .execute(
            "UPDATE projects SET public = $2, updated_at = $3 WHERE id = $1 AND deleted_at IS NULL",
            &[project.id.into(), public.into(), now.into()],
        )
        .await?;
    if updated == 0 {
        return Err(not_found(&project.name));
    }
    tx.touch(Touch::Rights);
    changes::append(
        tx,
        Kind::ProjectUpdated,
        &project.name,
        &json!({ "uid": project.uid, "public": public }),
        now,
    )
    .await
}

/// Deletes a project that holds no repositories; its members and robots go with it, its name becomes free.
pub async fn delete(tx: &mut Tx, project: &Project, now: Timestamp) -> Result<()> {
    // Whoever adds something to it holds it FOR SHARE: that is over now, or finds it gone.
    let sql = locking!(
        tx,
        "SELECT 1 FROM projects WHERE id = $1 AND deleted_at IS NULL",
        "FOR UPDATE"
    );
    if !tx.exists(sql, &[project.id.into()]).await? {
        return Err(not_found(&project.name));
    }
    if tx
        .exists(
            "SELECT 1 FROM repositories WHERE project_id = $1 LIMIT 1",
            &[project.id.into()],
        )
        .await?
    {
        return Err(Error::Precondition(
            "the project contains repositories, can not be deleted".to_owned(),
        ));
    }
    tx.execute(
        "DELETE FROM members WHERE project_id = $1",
        &[project.id.into()],
    )
    .await?;
    tx.execute(
        "DELETE FROM robots WHERE project_id = $1",
        &[project.id.into()],
    )
    .await?;
    tx.execute(
        "DELETE FROM robot_permissions WHERE scope = $1",
        &[project.id.into()],
    )
    .await?;
    tx.execute(
        "UPDATE projects SET deleted_at = $2, updated_at = $2 WHERE id = $1",
        &[project.id.into(), now.into()],
    )
    .await?;
    tx.touch(Touch::Rights);
    changes::append(
        tx,
        Kind::ProjectDeleted,
        &project.name,
        &json!({ "uid": project.uid }),
        now,
    )
    .await
}

/// Projects as clients list them.
pub static LIST: List<Project> = List {
    table: "projects p",
    always: "p.deleted_at IS NULL",
    joins: "",
    columns: &[
        "p.id",
        "p.uid",
        "p.name",
        "p.public",
        "p.owner_id",
        "p.created_at",
    ],
    read,
    id: "p.id",
    fields: &[
        Field::new(&["project_id", "ProjectID", "id"], "p.id", Of::Number)
            .indexed()
            .unique(),
        Field::new(&["name", "Name"], "p.name", Of::Text)
            .indexed()
            .unique(),
        Field::new(&["public", "Public"], "p.public", Of::Bool).unsorted(),
        Field::new(&["owner_id", "OwnerID"], "p.owner_id", Of::Number).indexed(),
        Field::new(
            &["owner", "Owner"],
            "(SELECT o.name FROM users o WHERE o.id = p.owner_id)",
            Of::Text,
        )
        .exact(
            "p.owner_id IN (SELECT o.id FROM users o WHERE o.name = $1 AND o.deleted_at IS NULL)",
        )
        .unsorted(),
        Field::new(&["creation_time", "CreationTime"], "p.created_at", Of::Time),
        Field::new(&["update_time", "UpdateTime"], "p.updated_at", Of::Time),
    ],
    order: &[("name", false)],
};

/// What somebody sees who is no administrator: public projects and those that he, or a group of his, is a member of.
pub fn visible_to(user: Option<UserId>) -> Within {
    match user {
        None => Within::all().and("p.public", []),
        Some(user) => Within::all().and(
            "p.public OR p.id IN (SELECT m.project_id FROM members m WHERE m.user_id = $1
                 UNION ALL SELECT m.project_id FROM group_users g JOIN members m ON m.group_id = g.group_id WHERE g.user_id = $1)",
            [user.0.into()],
        ),
    }
}
