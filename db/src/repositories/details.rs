//! Repositories as people see them in lists.

use model::{
    Error, Result, What,
    change::Kind as Change,
    id::{ProjectId, RepositoryId, RobotId, UserId},
    time::Timestamp,
};
use serde_json::json;

use crate::{
    Conn, Tx,
    blobs::json_numbers,
    changes,
    dialect::with_numbers,
    query::{Field, Kind, List, Within},
    value::Row,
};

#[derive(Debug, Clone)]
pub struct Details {
    pub id: RepositoryId,
    pub project: ProjectId,
    /// With its project's name.
    pub name: String,
    pub description: Option<String>,
    pub pulls: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

fn read(row: &Row<'_>) -> Result<Details> {
    Ok(Details {
        id: RepositoryId(row.int(0)?),
        project: ProjectId(row.int(1)?),
        name: row.text(2)?,
        description: row.opt_text(3)?,
        pulls: row.int(4)?,
        created_at: row.time(5)?,
        updated_at: row.time(6)?,
    })
}

/// Repositories as clients list them.
pub static LIST: List<Details> = List {
    table: "repositories r",
    always: "",
    joins: "",
    columns: &[
        "r.id",
        "r.project_id",
        "r.name",
        "r.description",
        "r.pulls",
        "r.created_at",
        "r.updated_at",
    ],
    read,
    id: "r.id",
    fields: &[
        Field::new(
            &["repository_id", "RepositoryID", "id", "ID"],
            "r.id",
            Kind::Number,
        )
        .unique(),
        Field::new(&["name", "Name"], "r.name", Kind::Text)
            .indexed()
            .unique(),
        Field::new(&["project_id", "ProjectID"], "r.project_id", Kind::Number),
        Field::new(&["description", "Description"], "r.description", Kind::Text)
            .nullable()
            .unsorted(),
        Field::new(&["pull_count", "PullCount"], "r.pulls", Kind::Number),
        Field::new(&["creation_time", "CreationTime"], "r.created_at", Kind::Time).indexed(),
        Field::new(&["update_time", "UpdateTime"], "r.updated_at", Kind::Time),
        Field::new(
            &["blob_digest", "BlobDigest"],
            "''",
            Kind::Text,
        )
        .exact(
            "r.id IN (SELECT l.repository_id FROM blobs b JOIN repository_blobs l ON l.blob_id = b.id
                       WHERE b.digest = $1 AND b.state NOT IN (2, 3))",
        )
        .unsorted(),
    ],
    order: &[("creation_time", true)],
};

/// Who looks at lists over many projects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// Administrators.
    Everything,
    User(UserId),
    Robot(RobotId, Option<ProjectId>),
    /// Public projects alone.
    Anybody,
    Nothing,
}

/// Repositories of the projects that somebody may look into. `+`: newest first they come out of their index, each is asked whether it is
/// among these, and nothing is sorted.
pub fn visible_to(viewer: Viewer) -> Within {
    let all = Within::all();
    match viewer {
        Viewer::Everything => all,
        Viewer::Nothing => all.and("FALSE", []),
        Viewer::Anybody => all.and(
            "+r.project_id IN (SELECT p.id FROM projects p WHERE p.deleted_at IS NULL AND p.public)",
            [],
        ),
        Viewer::User(user) => all.and(
            "+r.project_id IN (SELECT p.id FROM projects p
                               WHERE p.deleted_at IS NULL
                                 AND (p.public OR p.id IN (SELECT m.project_id FROM members m WHERE m.user_id = $1
                                                           UNION ALL
                                                           SELECT m.project_id FROM group_users g JOIN members m ON m.group_id = g.group_id
                                                            WHERE g.user_id = $1)))",
            [user.0.into()],
        ),
        Viewer::Robot(robot, own) => all.and(
            "+r.project_id IN (SELECT p.id FROM projects p
                               WHERE p.deleted_at IS NULL
                                 AND (p.public OR p.id = $2
                                      OR EXISTS (SELECT 1 FROM robot_permissions s
                                                  WHERE s.robot_id = $1 AND s.scope IN (p.id, -1) AND s.resource = 'repository')))",
            [robot.0.into(), own.map_or(0, |own| own.0).into()],
        ),
    }
}

pub fn of_project(project: ProjectId) -> Within {
    Within::all().and("r.project_id = $1", [project.0.into()])
}

pub async fn get(conn: &mut Conn, name: &str) -> Result<Details> {
    conn.row(
        "SELECT r.id, r.project_id, r.name, r.description, r.pulls, r.created_at, r.updated_at FROM repositories r WHERE r.name = $1",
        &[name.into()],
        read,
    )
    .await?
    .ok_or_else(|| Error::not_found(What::Repository, format!("repository {name} not found")))
}

/// How many artifacts each of these repositories shows in its list; those that are missing show none.
pub async fn artifact_counts(
    conn: &mut Conn,
    repositories: &[RepositoryId],
) -> Result<Vec<(RepositoryId, i64)>> {
    let list = json_numbers(repositories.iter().map(|id| id.0));
    let sql = with_numbers!(
        conn,
        "SELECT id, CAST(SUM(n) AS BIGINT) FROM counters WHERE name = 'repository.artifacts' AND id IN",
        "$1",
        "GROUP BY id"
    );
    conn.rows(sql, &[(&list).into()], |row| {
        Ok((RepositoryId(row.int(0)?), row.int(1)?))
    })
    .await
}

/// Sets what people read of it.
pub async fn describe(
    tx: &mut Tx,
    repository: &Details,
    description: &str,
    now: Timestamp,
) -> Result<()> {
    let changed = tx
        .execute(
            "UPDATE repositories SET description = $2, updated_at = $3 WHERE id = $1",
            &[repository.id.into(), description.into(), now.into()],
        )
        .await?;
    if changed == 0 {
        let name = &repository.name;
        return Err(Error::not_found(
            What::Repository,
            format!("repository {name} not found"),
        ));
    }
    let payload = json!({ "description": description });
    changes::append(
        tx,
        Change::RepositoryUpdated,
        &repository.name,
        Some(repository.project),
        &payload,
        now,
    )
    .await
}
