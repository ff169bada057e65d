//! What goes on in repositories: how often and when they were pulled, and a series of what came and went, by hour and later by
//! day. A project's and the system's own sums stand beside those of repositories, as repository 0 and project 0, so that none
//! is added up when somebody looks.

use std::collections::HashMap;

use model::{
    Result,
    id::{ArtifactId, ProjectId, RepositoryId},
    time::Timestamp,
};
use serde_json::{Value as Json, json};

use crate::{
    Conn, Tx,
    blobs::json_numbers,
    dialect::{with_list, with_numbers, with_rows},
    value::Row,
};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// What is counted, of one place and time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub pushes: i64,
    pub pulls: i64,
    pub bytes_in: i64,
    pub bytes_out: i64,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.pushes = self.pushes.saturating_add(other.pushes);
        self.pulls = self.pulls.saturating_add(other.pulls);
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
    }
}

/// A repository that something went on in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub repository: RepositoryId,
    pub project: ProjectId,
    pub name: String,
}

/// Those of these repositories that are there, held against others who count, in the one order in which all do.
pub async fn hold(tx: &mut Tx, names: &[&str]) -> Result<Vec<Place>> {
    let list = Json::from(names).to_string();
    let sql = with_list!(
        tx,
        "SELECT id, project_id, name FROM repositories WHERE name IN",
        "$1",
        "ORDER BY id",
        "FOR NO KEY UPDATE"
    );
    tx.rows(sql, &[(&list).into()], |row| {
        Ok(Place {
            repository: RepositoryId(row.int(0)?),
            project: ProjectId(row.int(1)?),
            name: row.text(2)?,
        })
    })
    .await
}

/// Adds to how often repositories were pulled. Hold them first.
pub async fn add_pulls(tx: &mut Tx, pulls: &[(RepositoryId, i64)]) -> Result<()> {
    let rows = pulls.iter().map(|(id, n)| json!({ "id": id.0, "n": n }));
    let sql = with_rows!(
        tx,
        "UPDATE repositories SET pulls = pulls + given.n FROM",
        "value ->> 'id' AS id, value ->> 'n' AS n",
        "id BIGINT, n BIGINT",
        "WHERE repositories.id = given.id"
    );
    run(tx, sql, rows).await
}

/// When something was pulled last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    pub repository: RepositoryId,
    pub artifact: ArtifactId,
    /// The tag that it was pulled by, unless it stands for something else by now.
    pub tag: Option<String>,
    pub at: Timestamp,
}

/// Sets when repositories, artifacts and tags were pulled last, and indexes with what they list. Hold the repositories first.
pub async fn set_pulled(tx: &mut Tx, pulled: &[Pulled]) -> Result<()> {
    let mut sorted: Vec<_> = pulled.iter().collect();
    sorted.sort_by_key(|one| (one.artifact, &one.tag));
    let all = |id: fn(&Pulled) -> i64| {
        let rows = sorted
            .iter()
            .map(move |one| json!({ "id": id(one), "at": one.at.0 }));
        rows.collect::<Vec<_>>()
    };
    let sql = with_rows!(
        tx,
        "UPDATE repositories SET pulled_at = given.at FROM",
        "value ->> 'id' AS id, MAX(value ->> 'at') AS at",
        "id BIGINT, at BIGINT",
        "WHERE repositories.id = given.id AND COALESCE(repositories.pulled_at, 0) < given.at",
        by id
    );
    run(tx, sql, all(|one| one.repository.0)).await?;
    let artifacts = all(|one| one.artifact.0);
    set_artifacts_pulled(tx, artifacts).await?;
    let tags = sorted.iter().filter_map(|one| {
        let tag = one.tag.as_ref()?;
        Some(json!({ "repository": one.repository.0, "artifact": one.artifact.0, "name": tag, "at": one.at.0 }))
    });
    let sql = with_rows!(
        tx,
        "UPDATE tags SET pulled_at = given.at FROM",
        "value ->> 'repository' AS repository, value ->> 'artifact' AS artifact, value ->> 'name' AS name, value ->> 'at' AS at",
        "repository BIGINT, artifact BIGINT, name TEXT, at BIGINT",
        "WHERE tags.repository_id = given.repository AND tags.name = given.name AND tags.artifact_id = given.artifact
           AND COALESCE(tags.pulled_at, 0) < given.at"
    );
    run(tx, sql, tags).await
}

/// Rows are locked by number, as pushes lock them one at a time.
async fn set_artifacts_pulled(tx: &mut Tx, mut rows: Vec<Json>) -> Result<()> {
    let number = |row: &Json, name: &str| row[name].as_i64().unwrap_or_default();
    let numbers = json_numbers(rows.iter().map(|row| number(row, "id")));
    let sql = with_numbers!(
        tx,
        "SELECT child_id, parent_id FROM artifact_children WHERE child_id IN",
        "$1",
        "ORDER BY child_id, parent_id LIMIT 10000"
    );
    let parents = tx
        .rows(sql, &[(&numbers).into()], |row| {
            Ok((row.int(0)?, row.int(1)?))
        })
        .await?;
    let mut pulled = HashMap::<i64, i64>::new();
    for row in &rows {
        let at = pulled.entry(number(row, "id")).or_default();
        *at = number(row, "at").max(*at);
    }
    for (child, parent) in parents {
        let at = pulled.get(&child);
        rows.extend(at.map(|at| json!({ "id": parent, "at": at })));
    }
    let numbers = json_numbers(rows.iter().map(|row| number(row, "id")));
    let sql = with_numbers!(
        tx,
        "SELECT id FROM artifacts WHERE id IN",
        "$1",
        "ORDER BY id",
        "FOR NO KEY UPDATE"
    );
    tx.rows(sql, &[(&numbers).into()], |row| row.int(0)).await?;
    let sql = with_rows!(
        tx,
        "UPDATE artifacts SET pulled_at = given.at FROM",
        "value ->> 'id' AS id, MAX(value ->> 'at') AS at",
        "id BIGINT, at BIGINT",
        "WHERE artifacts.id = given.id AND COALESCE(artifacts.pulled_at, 0) < given.at",
        by id
    );
    run(tx, sql, rows).await
}

/// Adds to the series, at `now`, of the repositories, their projects and the system.
pub async fn add(tx: &mut Tx, counts: &[(Place, Counts)], now: Timestamp) -> Result<()> {
    let mut sums = std::collections::BTreeMap::<(i64, i64), Counts>::new();
    for (place, counts) in counts {
        let (project, repository) = (place.project.0, place.repository.0);
        for key in [(0, 0), (project, 0), (project, repository)] {
            sums.entry(key).or_default().add(*counts);
        }
    }
    let starts_at = now.seconds() / HOUR * HOUR;
    let rows = sums
        .into_iter()
        .map(|((project, repository), counts)| Slice {
            project,
            repository,
            starts_at,
            counts,
        });
    add_slices(tx, HOUR, rows).await
}

/// A row of the series.
struct Slice {
    project: i64,
    repository: i64,
    starts_at: i64,
    counts: Counts,
}

/// In the order of the key.
async fn add_slices(tx: &mut Tx, span: i64, slices: impl Iterator<Item = Slice>) -> Result<()> {
    let rows = slices.map(|slice| {
        let Counts { pushes, pulls, bytes_in, bytes_out } = slice.counts;
        json!({
            "project_id": slice.project, "repository_id": slice.repository, "span": span, "starts_at": slice.starts_at,
            "pushes": pushes, "pulls": pulls, "bytes_in": bytes_in, "bytes_out": bytes_out,
        })
    });
    let sql = with_rows!(
        tx,
        "INSERT INTO activity (project_id, repository_id, span, starts_at, pushes, pulls, bytes_in, bytes_out)
         SELECT project_id, repository_id, span, starts_at, pushes, pulls, bytes_in, bytes_out FROM",
        "value ->> 'project_id' AS project_id, value ->> 'repository_id' AS repository_id, value ->> 'span' AS span, value ->> 'starts_at' AS starts_at,
         value ->> 'pushes' AS pushes, value ->> 'pulls' AS pulls, value ->> 'bytes_in' AS bytes_in, value ->> 'bytes_out' AS bytes_out",
        "project_id BIGINT, repository_id BIGINT, span BIGINT, starts_at BIGINT, pushes BIGINT, pulls BIGINT, bytes_in BIGINT, bytes_out BIGINT",
        "WHERE TRUE
          ON CONFLICT (project_id, repository_id, span, starts_at) DO UPDATE SET
             pushes    = activity.pushes + excluded.pushes,
             pulls     = activity.pulls + excluded.pulls,
             bytes_in  = activity.bytes_in + excluded.bytes_in,
             bytes_out = activity.bytes_out + excluded.bytes_out"
    );
    run(tx, sql, rows).await
}

async fn run(tx: &mut Tx, sql: &'static str, rows: impl IntoIterator<Item = Json>) -> Result<()> {
    let rows: Vec<Json> = rows.into_iter().collect();
    if rows.is_empty() {
        return Ok(());
    }
    let rows = Json::from(rows).to_string();
    tx.execute(sql, &[(&rows).into()]).await.map(|_| ())
}

/// Whose series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    System,
    Project(ProjectId),
    Repository(ProjectId, RepositoryId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    Hour,
    Day,
}

/// A point of a series: what went on from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Seconds since 1970.
    pub starts_at: i64,
    pub counts: Counts,
}

/// Points that a series has at most.
pub const MOST_POINTS: i64 = 1000;

/// The series from one second (inclusive) to another (exclusive), the earliest first; what has no point was zero. By the hour
/// only as long as hours are kept.
pub async fn series(conn: &mut Conn, of: Of, span: Span, from: i64, to: i64) -> Result<Vec<Point>> {
    let (project, repository) = match of {
        Of::System => (0, 0),
        Of::Project(project) => (project.0, 0),
        Of::Repository(project, repository) => (project.0, repository.0),
    };
    let values = [
        project.into(),
        repository.into(),
        from.into(),
        to.into(),
        MOST_POINTS.into(),
    ];
    let read = |row: &Row<'_>| {
        Ok(Point {
            starts_at: row.int(0)?,
            counts: Counts {
                pushes: row.int(1)?,
                pulls: row.int(2)?,
                bytes_in: row.int(3)?,
                bytes_out: row.int(4)?,
            },
        })
    };
    let sql = match span {
        Span::Hour => {
            "SELECT starts_at, pushes, pulls, bytes_in, bytes_out
               FROM activity
              WHERE project_id = $1 AND repository_id = $2 AND span = 3600 AND starts_at >= $3 AND starts_at < $4
              ORDER BY starts_at
              LIMIT $5"
        }
        // Hours of a day that are not folded yet, and what of it is.
        Span::Day => {
            "SELECT starts_at / 86400 * 86400 AS day,
                    CAST(SUM(pushes) AS BIGINT), CAST(SUM(pulls) AS BIGINT), CAST(SUM(bytes_in) AS BIGINT), CAST(SUM(bytes_out) AS BIGINT)
               FROM activity
              WHERE project_id = $1 AND repository_id = $2 AND span IN (3600, 86400) AND starts_at >= $3 AND starts_at < $4
              GROUP BY starts_at / 86400 * 86400
              ORDER BY day
              LIMIT $5"
        }
    };
    conn.rows(sql, &values, read).await
}

/// Folds up to `limit` hours before `before` into their days; answers how many went.
pub async fn fold(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64> {
    let before = before.seconds() / DAY * DAY;
    let hours = tx
        .rows(
            "SELECT project_id, repository_id, starts_at, pushes, pulls, bytes_in, bytes_out
               FROM activity
              WHERE span = 3600 AND starts_at < $1
              ORDER BY starts_at
              LIMIT $2",
            &[before.into(), limit.into()],
            |row| {
                Ok(Slice {
                    project: row.int(0)?,
                    repository: row.int(1)?,
                    starts_at: row.int(2)?,
                    counts: Counts {
                        pushes: row.int(3)?,
                        pulls: row.int(4)?,
                        bytes_in: row.int(5)?,
                        bytes_out: row.int(6)?,
                    },
                })
            },
        )
        .await?;
    let gone = hours.iter().map(|hour| {
        json!({ "project_id": hour.project, "repository_id": hour.repository, "starts_at": hour.starts_at })
    });
    let gone = gone.collect::<Json>().to_string();
    let mut days = std::collections::BTreeMap::<(i64, i64, i64), Counts>::new();
    for hour in &hours {
        let key = (hour.project, hour.repository, hour.starts_at / DAY * DAY);
        days.entry(key).or_default().add(hour.counts);
    }
    let days = days
        .into_iter()
        .map(|((project, repository, starts_at), counts)| Slice {
            project,
            repository,
            starts_at,
            counts,
        });
    add_slices(tx, DAY, days).await?;
    let sql = with_rows!(
        tx,
        "DELETE FROM activity WHERE span = 3600 AND (project_id, repository_id, starts_at) IN (SELECT project_id, repository_id, starts_at FROM",
        "value ->> 'project_id' AS project_id, value ->> 'repository_id' AS repository_id, value ->> 'starts_at' AS starts_at",
        "project_id BIGINT, repository_id BIGINT, starts_at BIGINT",
        ")"
    );
    tx.execute(sql, &[(&gone).into()]).await?;
    Ok(hours.len() as u64)
}

/// Drops up to `limit` days before `before`; answers how many went.
pub async fn trim(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64> {
    tx.execute(
        "DELETE FROM activity
          WHERE (project_id, repository_id, span, starts_at) IN (
                SELECT project_id, repository_id, span, starts_at
                  FROM activity
                 WHERE span = 86400 AND starts_at < $1
                 ORDER BY starts_at
                 LIMIT $2)",
        &[before.seconds().into(), limit.into()],
    )
    .await
}
