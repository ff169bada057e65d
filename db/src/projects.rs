//! Projects: the first segment of every repository's name, and where members and rights live.

use std::collections::HashMap;

use model::{
    Error, Result, What,
    change::Kind,
    id::{ProjectId, RobotId, UserId, new_uid},
    metadata::{self, Metadata},
    name::ProjectName,
    role::Role,
    time::Timestamp,
};
use serde_json::json;

use crate::{
    Conn, Tx, changes,
    counters::Counter,
    dialect::{locking, with_numbers},
    generations::Touch,
    query::{Field, Kind as Of, List, Within},
    quotas, retention,
    value::Row,
};

/// Why a project cannot be deleted, in Harbor's words.
pub const NOT_EMPTY: &str = "the project contains repositories, can not be deleted";

#[derive(Debug, Clone)]
pub struct Project {
    pub id: ProjectId,
    pub uid: String,
    pub name: String,
    pub public: bool,
    pub owner: UserId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct NewProject {
    pub name: ProjectName,
    pub public: bool,
    /// Becomes the project's first administrator.
    pub owner: UserId,
    pub metadata: Metadata,
    /// How many bytes it may hold, -1 without a limit; none where projects have no quotas.
    pub storage: Option<i64>,
}

impl NewProject {
    /// A private one that may hold as much as it likes.
    pub fn named(name: ProjectName, owner: UserId) -> Self {
        Self {
            name,
            public: false,
            owner,
            metadata: Metadata::new(),
            storage: Some(-1),
        }
    }
}

fn read(row: &Row<'_>) -> Result<Project> {
    Ok(Project {
        id: ProjectId(row.int(0)?),
        uid: row.text(1)?,
        name: row.text(2)?,
        public: row.bool(3)?,
        owner: UserId(row.int(4)?),
        created_at: row.time(5)?,
        updated_at: row.time(6)?,
    })
}

pub async fn find(conn: &mut Conn, id: ProjectId) -> Result<Option<Project>> {
    conn.row(
        "SELECT id, uid, name, public, owner_id, created_at, updated_at FROM projects WHERE id = $1 AND deleted_at IS NULL",
        &[id.into()],
        read,
    )
    .await
}

pub async fn find_name(conn: &mut Conn, name: &str) -> Result<Option<Project>> {
    conn.row(
        "SELECT id, uid, name, public, owner_id, created_at, updated_at FROM projects WHERE name = $1 AND deleted_at IS NULL",
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
        "SELECT id, uid, name, public, owner_id, created_at, updated_at FROM projects
          WHERE deleted_at IS NULL AND name > $1
          ORDER BY name
          LIMIT $2",
        &[after.into(), limit.into()],
        read,
    )
    .await
}

/// The project with what it begins with: its administrator, its quota, its metadata.
pub async fn insert(tx: &mut Tx, new: &NewProject, now: Timestamp) -> Result<ProjectId> {
    let (uid, name) = (new_uid(), new.name.as_str());
    let id = tx
        .row(
            "INSERT INTO projects (uid, name, public, trust, owner_id, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $6)
             ON CONFLICT DO NOTHING
             RETURNING id",
            &[
                (&uid).into(),
                name.into(),
                new.public.into(),
                metadata::trust(&new.metadata).into(),
                new.owner.into(),
                now.into(),
            ],
            |row| Ok(ProjectId(row.int(0)?)),
        )
        .await?
        .ok_or_else(|| Error::Conflict(format!("The project named {name} already exists")))?;
    begin(tx, id, new, now).await?;
    tx.touch(Touch::Rights);
    let payload = json!({
        "uid": uid, "public": new.public, "owner": new.owner, "metadata": new.metadata, "storage": new.storage,
    });
    changes::append(tx, Kind::ProjectCreated, name, Some(id), &payload, now).await?;
    Ok(id)
}

async fn begin(tx: &mut Tx, id: ProjectId, new: &NewProject, now: Timestamp) -> Result<()> {
    tx.execute(
        "INSERT INTO members (uid, project_id, user_id, role, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)",
        &[
            (&new_uid()).into(),
            id.into(),
            new.owner.into(),
            Role::ProjectAdmin.number().into(),
            now.into(),
        ],
    )
    .await?;
    if let Some(hard) = new.storage {
        quotas::insert(tx, id, hard, now).await?;
    }
    for (name, value) in &new.metadata {
        tx.execute(
            "INSERT INTO project_metadata (project_id, name, value, updated_at) VALUES ($1, $2, $3, $4)",
            &[id.into(), name.into(), value.into(), now.into()],
        )
        .await?;
    }
    Ok(())
}

/// What is shown of a project beside its row.
#[derive(Debug, Clone)]
pub struct Extras {
    /// None when the owner was deleted.
    pub owner: Option<String>,
    pub repositories: i64,
}

pub async fn extras(conn: &mut Conn, projects: &[ProjectId]) -> Result<HashMap<i64, Extras>> {
    let ids = json!(projects).to_string();
    let sql = with_numbers!(
        conn,
        "SELECT p.id, o.name,
                (SELECT CAST(COALESCE(SUM(c.n), 0) AS BIGINT) FROM counters c WHERE c.name = 'project.repositories' AND c.id = p.id)
           FROM projects p
           LEFT JOIN users o ON o.id = p.owner_id AND o.deleted_at IS NULL
          WHERE p.id IN",
        "$1",
        "ORDER BY p.id LIMIT 100000"
    );
    let rows = conn
        .rows(sql, &[(&ids).into()], |row| {
            let extras = Extras {
                owner: row.opt_text(1)?,
                repositories: row.int(2)?,
            };
            Ok((row.int(0)?, extras))
        })
        .await?;
    Ok(rows.into_iter().collect())
}

/// Projects of one kind, and their repositories.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub projects: i64,
    pub repositories: i64,
}

/// All private projects and all public ones; of the private ones those alone that somebody is a member of, when one is named.
pub async fn tallies(conn: &mut Conn, member: Option<UserId>) -> Result<(Tally, Tally)> {
    let rows = conn
        .rows(
            "SELECT p.public, COUNT(*),
                    CAST(COALESCE(SUM((SELECT COALESCE(SUM(c.n), 0) FROM counters c WHERE c.name = 'project.repositories' AND c.id = p.id)), 0) AS BIGINT)
               FROM projects p
              WHERE p.deleted_at IS NULL
                AND (p.public OR $1 = 0
                     OR p.id IN (SELECT m.project_id FROM members m WHERE m.user_id = $1
                          UNION ALL SELECT m.project_id FROM group_users g JOIN members m ON m.group_id = g.group_id WHERE g.user_id = $1))
              GROUP BY p.public
              ORDER BY p.public
              LIMIT 2",
            &[member.map_or(0, |user| user.0).into()],
            |row| {
                let tally = Tally {
                    projects: row.int(1)?,
                    repositories: row.int(2)?,
                };
                Ok((row.bool(0)?, tally))
            },
        )
        .await?;
    let of = |wanted| {
        let found = rows.iter().find(|(public, _)| *public == wanted);
        found.map(|(_, tally)| *tally).unwrap_or_default()
    };
    Ok((of(false), of(true)))
}

/// The sum of what projects use; a content that two of them hold counts for both.
pub async fn bytes(conn: &mut Conn) -> Result<i64> {
    let sum = conn
        .row(
            "SELECT CAST(COALESCE(SUM(c.n), 0) AS BIGINT) FROM counters c WHERE c.name = 'project.bytes'",
            &[],
            |row| row.int(0),
        )
        .await?;
    Ok(sum.unwrap_or(0))
}

/// Makes sure that a project is there and stays until the transaction ends; whoever adds something to it calls this.
pub(crate) async fn hold(tx: &mut Tx, id: ProjectId) -> Result<()> {
    let sql = locking!(
        tx,
        "SELECT COALESCE(q.hard, -1) FROM projects p LEFT JOIN quotas q ON q.project_id = p.id WHERE p.id = $1 AND p.deleted_at IS NULL",
        "FOR SHARE OF p"
    );
    let hard = tx.row(sql, &[id.into()], |row| row.int(0)).await?;
    let hard =
        hard.ok_or_else(|| Error::not_found(What::Project, "the project was deleted just now"))?;
    tx.pending.limit(id, hard);
    Ok(())
}

/// Makes sure that a project is there, and that nobody else changes it until the transaction ends.
pub(crate) async fn lock(tx: &mut Tx, project: &Project) -> Result<()> {
    let sql = locking!(
        tx,
        "SELECT 1 FROM projects WHERE id = $1 AND deleted_at IS NULL",
        "FOR UPDATE"
    );
    if tx.exists(sql, &[project.id.into()]).await? {
        return Ok(());
    }
    Err(not_found(&project.name))
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
        Some(project.id),
        &json!({ "uid": project.uid, "public": public }),
        now,
    )
    .await
}

/// Deletes a project that holds no repositories; what belongs to it goes with it, its name becomes free.
pub async fn delete(tx: &mut Tx, project: &Project, now: Timestamp) -> Result<()> {
    // Whoever adds something to it holds it FOR SHARE: that is over now, or finds it gone.
    lock(tx, project).await?;
    if holds_repositories(tx, project.id).await? {
        return Err(Error::Precondition(NOT_EMPTY.to_owned()));
    }
    retention::end(tx, project.id, now).await?;
    end(tx, project.id).await?;
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
        Some(project.id),
        &json!({ "uid": project.uid }),
        now,
    )
    .await
}

pub async fn holds_repositories(conn: &mut Conn, id: ProjectId) -> Result<bool> {
    conn.exists(
        "SELECT 1 FROM repositories WHERE project_id = $1 LIMIT 1",
        &[id.into()],
    )
    .await
}

async fn end(tx: &mut Tx, id: ProjectId) -> Result<()> {
    for counter in [
        Counter::ProjectRepositories(id),
        Counter::ProjectArtifacts(id),
        Counter::ProjectBytes(id),
    ] {
        tx.pending.drop(counter);
    }
    let id = &[id.into()];
    tx.execute("DELETE FROM members WHERE project_id = $1", id)
        .await?;
    tx.execute("DELETE FROM robots WHERE project_id = $1", id)
        .await?;
    tx.execute("DELETE FROM robot_permissions WHERE scope = $1", id)
        .await?;
    tx.execute("DELETE FROM quotas WHERE project_id = $1", id)
        .await?;
    tx.execute("DELETE FROM project_metadata WHERE project_id = $1", id)
        .await?;
    tx.execute("DELETE FROM cve_allowlists WHERE project_id = $1", id)
        .await?;
    tx.execute("DELETE FROM immutable_rules WHERE project_id = $1", id)
        .await?;
    tx.execute("DELETE FROM labels WHERE project_id = $1", id)
        .await
        .map(|_| ())
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
        "p.updated_at",
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

/// What a robot sees: public projects and those in which it has a permission.
pub fn visible_to_robot(robot: RobotId) -> Within {
    Within::all().and(
        "p.public OR p.id IN (SELECT r.scope FROM robot_permissions r WHERE r.robot_id = $1)",
        [robot.0.into()],
    )
}
