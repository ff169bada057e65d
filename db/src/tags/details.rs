//! Tags as people see them in lists.

use model::{
    Result,
    id::{ArtifactId, RepositoryId, TagId},
    time::Timestamp,
};

use crate::{
    Conn,
    blobs::json_numbers,
    dialect::with_numbers,
    query::{Field, Kind, List, Within},
    value::Row,
};

/// Tags of one page of artifacts that are told at most; an artifact's own list of them has pages.
const MOST: i64 = 20_000;

#[derive(Debug, Clone)]
pub struct Details {
    pub id: TagId,
    pub repository: RepositoryId,
    pub artifact: ArtifactId,
    pub name: String,
    pub pushed_at: Timestamp,
    pub pulled_at: Option<Timestamp>,
}

fn read(row: &Row<'_>) -> Result<Details> {
    Ok(Details {
        id: TagId(row.int(0)?),
        repository: RepositoryId(row.int(1)?),
        artifact: ArtifactId(row.int(2)?),
        name: row.text(3)?,
        pushed_at: row.time(4)?,
        pulled_at: row.opt_time(5)?,
    })
}

/// Tags of one artifact, to be filtered and paged.
pub static LIST: List<Details> = List {
    table: "tags t",
    always: "",
    joins: "",
    columns: &[
        "t.id",
        "t.repository_id",
        "t.artifact_id",
        "t.name",
        "t.pushed_at",
        "t.pulled_at",
    ],
    read,
    id: "t.id",
    fields: &[
        Field::new(&["id", "ID"], "t.id", Kind::Number)
            .indexed()
            .unique(),
        Field::new(&["name", "Name"], "t.name", Kind::Text).unique(),
        Field::new(&["push_time", "PushTime"], "t.pushed_at", Kind::Time),
        Field::new(&["pull_time", "PullTime"], "t.pulled_at", Kind::Time).nullable(),
    ],
    order: &[("id", false)],
};

pub fn of(artifact: ArtifactId) -> Within {
    Within::all().and("t.artifact_id = $1", [artifact.0.into()])
}

/// The tags of these artifacts, in the order in which they were made.
pub async fn of_all(conn: &mut Conn, artifacts: &[ArtifactId]) -> Result<Vec<Details>> {
    let list = json_numbers(artifacts.iter().map(|id| id.0));
    let sql = with_numbers!(
        conn,
        "SELECT t.id, t.repository_id, t.artifact_id, t.name, t.pushed_at, t.pulled_at FROM tags t WHERE t.artifact_id IN",
        "$1",
        "ORDER BY t.artifact_id, t.id LIMIT $2"
    );
    conn.rows(sql, &[(&list).into(), MOST.into()], read).await
}
