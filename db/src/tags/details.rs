//! Tags as people see them in lists.

use model::{
    Error, Result, What,
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

/// Tags read in one query.
const BATCH: i64 = 10_000;
/// Tags of the artifacts of one page that are told: more are no answer. An artifact's own list of them has pages.
const MOST: usize = 200_000;

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

/// All tags of these artifacts, in the order in which they were made: one that is left out would look as if it had none.
pub async fn of_all(conn: &mut Conn, artifacts: &[ArtifactId]) -> Result<Vec<Details>> {
    let mut left: Vec<i64> = artifacts.iter().map(|id| id.0).collect();
    left.sort_unstable();
    left.dedup();
    let (mut all, mut after) = (Vec::new(), TagId(0));
    while !left.is_empty() {
        let list = json_numbers(left.iter().copied());
        // Of the first artifact what follows; of the others everything.
        let sql = with_numbers!(
            conn,
            "SELECT t.id, t.repository_id, t.artifact_id, t.name, t.pushed_at, t.pulled_at
               FROM tags t
              WHERE (t.artifact_id <> $2 OR t.id > $3) AND t.artifact_id IN",
            "$1",
            "ORDER BY t.artifact_id, t.id LIMIT $4"
        );
        let values = &[(&list).into(), left[0].into(), after.into(), BATCH.into()];
        let some = conn.rows(sql, values, read).await?;
        let last = some.last().filter(|_| some.len() as i64 == BATCH);
        match last {
            Some(last) => {
                left.retain(|id| *id >= last.artifact.0);
                after = last.id;
            }
            None => left.clear(),
        }
        all.extend(some);
        if all.len() > MOST {
            return Err(Error::invalid(
                What::Query,
                format!(
                    "these artifacts have more than {MOST} tags: ask for fewer at a time by `page_size`, or leave tags out by `with_tag=false`"
                ),
            ));
        }
    }
    Ok(all)
}
