//! What a project uses and holds, counted anew. What is wrong is put right by adding the difference as one statement sees it:
//! whoever writes meanwhile adds to both sides alike, so nobody has to wait.

use std::fmt;

use model::{
    Result,
    id::{ProjectId, RepositoryId},
};

use crate::{Conn, Tx, counters::Counter};

/// What was found wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recounted {
    /// Links that a manifest names and that did not count.
    pub links: u64,
    /// Contents that were counted by other links than there are.
    pub contents: u64,
    /// Bytes by which the total was too small, or (below 0) too large.
    pub bytes: i64,
    /// The same of repositories.
    pub repositories: i64,
    /// The same of artifacts that lists show.
    pub artifacts: i64,
    /// Repositories whose own number of artifacts was wrong.
    pub lists: u64,
    /// Rows of the audit by which their total was too small, or (below 0) too large.
    pub audit: i64,
}

impl Recounted {
    pub fn is_exact(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Recounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:+} bytes, {:+} repositories, {:+} artifacts, {:+} rows of the audit; {} links, {} contents and the totals of {} repositories were wrong",
            self.bytes,
            self.repositories,
            self.artifacts,
            self.audit,
            self.links,
            self.contents,
            self.lists
        )
    }
}

/// What [`mend`] would put right.
pub async fn find(conn: &mut Conn, project: ProjectId) -> Result<Recounted> {
    let values = &[project.into()];
    let links = conn
        .row(
            "SELECT COUNT(*)
               FROM repositories r
               JOIN repository_blobs l ON l.repository_id = r.id
              WHERE r.project_id = $1 AND NOT l.counted
                AND EXISTS (SELECT 1 FROM artifact_blobs n WHERE n.blob_id = l.blob_id AND n.repository_id = l.repository_id)",
            values,
            |row| row.int(0),
        )
        .await?;
    let contents = conn
        .row(
            "SELECT COUNT(*) FROM (
                 SELECT blob_id FROM (
                     SELECT l.blob_id AS blob_id, 1 AS there, 0 AS kept
                       FROM repositories r
                       JOIN repository_blobs l ON l.repository_id = r.id
                      WHERE r.project_id = $1 AND l.counted
                      UNION ALL
                     SELECT blob_id, 0, links FROM project_blobs WHERE project_id = $1) AS both_sides
                  GROUP BY blob_id HAVING SUM(there) <> SUM(kept)) AS wrong",
            values,
            |row| row.int(0),
        )
        .await?;
    Ok(Recounted {
        links: links.unwrap_or(0).unsigned_abs(),
        contents: contents.unwrap_or(0).unsigned_abs(),
        bytes: missing_bytes(conn, project).await?,
        repositories: missing_repositories(conn, project).await?,
        artifacts: missing_artifacts(conn, project).await?,
        lists: miscounted_lists(conn, project).await?.len() as u64,
        audit: missing_audit(conn, Some(project)).await?,
    })
}

/// Puts right what a project is said to use and to hold.
pub async fn mend(tx: &mut Tx, project: ProjectId) -> Result<Recounted> {
    let values = &[project.into()];
    let links = tx
        .execute(
            "UPDATE repository_blobs SET counted = TRUE
              WHERE NOT counted
                AND repository_id IN (SELECT id FROM repositories WHERE project_id = $1)
                AND EXISTS (SELECT 1 FROM artifact_blobs n
                             WHERE n.blob_id = repository_blobs.blob_id AND n.repository_id = repository_blobs.repository_id)",
            values,
        )
        .await?;
    let contents = tx
        .execute(
            "INSERT INTO project_blobs (project_id, blob_id, links)
             SELECT $1, blob_id, SUM(there) - SUM(kept)
               FROM (SELECT l.blob_id AS blob_id, 1 AS there, 0 AS kept
                       FROM repositories r
                       JOIN repository_blobs l ON l.repository_id = r.id
                      WHERE r.project_id = $1 AND l.counted
                      UNION ALL
                     SELECT blob_id, 0, links FROM project_blobs WHERE project_id = $1) AS both_sides
              GROUP BY blob_id HAVING SUM(there) <> SUM(kept)
              ORDER BY blob_id
             ON CONFLICT (project_id, blob_id) DO UPDATE SET links = project_blobs.links + excluded.links",
            values,
        )
        .await?;
    tx.execute(
        "DELETE FROM project_blobs WHERE project_id = $1 AND links <= 0",
        values,
    )
    .await?;
    let bytes = missing_bytes(tx, project).await?;
    tx.count(Counter::ProjectBytes(project), bytes);
    let repositories = missing_repositories(tx, project).await?;
    tx.count(Counter::ProjectRepositories(project), repositories);
    let artifacts = missing_artifacts(tx, project).await?;
    tx.count(Counter::ProjectArtifacts(project), artifacts);
    let lists = miscounted_lists(tx, project).await?;
    for (repository, missing) in &lists {
        tx.count(Counter::RepositoryArtifacts(*repository), *missing);
    }
    Ok(Recounted {
        links,
        contents,
        bytes,
        repositories,
        artifacts,
        lists: lists.len() as u64,
        audit: mend_audit(tx, Some(project)).await?,
    })
}

/// How many more rows of the audit are shown than their total says: of a project, or in all.
pub async fn missing_audit(conn: &mut Conn, project: Option<ProjectId>) -> Result<i64> {
    let missing = match project {
        Some(project) => {
            conn.row(
                "SELECT CAST((SELECT COUNT(*) FROM audit WHERE project_id = $1 AND NOT forward_only)
                           - COALESCE((SELECT SUM(n) FROM counters WHERE name = 'audit' AND id = $1), 0) AS BIGINT)",
                &[project.into()],
                |row| row.int(0),
            )
            .await?
        }
        None => {
            conn.row(
                "SELECT CAST((SELECT COUNT(*) FROM audit WHERE NOT forward_only)
                           - COALESCE((SELECT SUM(n) FROM counters WHERE name = 'audit' AND id = 0), 0) AS BIGINT)",
                &[],
                |row| row.int(0),
            )
            .await?
        }
    };
    Ok(missing.unwrap_or(0))
}

/// Puts that total right; answers by how much.
pub async fn mend_audit(tx: &mut Tx, project: Option<ProjectId>) -> Result<i64> {
    let missing = missing_audit(tx, project).await?;
    tx.count(Counter::Audit(project), missing);
    Ok(missing)
}

/// How much more the project uses than its total says.
async fn missing_bytes(conn: &mut Conn, project: ProjectId) -> Result<i64> {
    let missing = conn
        .row(
            "SELECT CAST(COALESCE((SELECT SUM(b.size) FROM blobs b WHERE b.id IN
                                      (SELECT l.blob_id
                                         FROM repositories r
                                         JOIN repository_blobs l ON l.repository_id = r.id
                                        WHERE r.project_id = $1 AND l.counted)), 0)
                       - COALESCE((SELECT SUM(n) FROM counters WHERE name = 'project.bytes' AND id = $1), 0) AS BIGINT)",
            &[project.into()],
            |row| row.int(0),
        )
        .await?;
    Ok(missing.unwrap_or(0))
}

/// How many more repositories the project has than its total says.
async fn missing_repositories(conn: &mut Conn, project: ProjectId) -> Result<i64> {
    let missing = conn
        .row(
            "SELECT CAST((SELECT COUNT(*) FROM repositories WHERE project_id = $1)
                       - COALESCE((SELECT SUM(n) FROM counters WHERE name = 'project.repositories' AND id = $1), 0) AS BIGINT)",
            &[project.into()],
            |row| row.int(0),
        )
        .await?;
    Ok(missing.unwrap_or(0))
}

/// How many more artifacts lists of the project show than its total says.
async fn missing_artifacts(conn: &mut Conn, project: ProjectId) -> Result<i64> {
    let missing = conn
        .row(
            "SELECT CAST((SELECT COUNT(*) FROM artifacts WHERE project_id = $1 AND listed)
                       - COALESCE((SELECT SUM(n) FROM counters WHERE name = 'project.artifacts' AND id = $1), 0) AS BIGINT)",
            &[project.into()],
            |row| row.int(0),
        )
        .await?;
    Ok(missing.unwrap_or(0))
}

/// Repositories put right at a time; who counts again finds the rest.
const MOST_LISTS: i64 = 10_000;

/// The same of each repository of the project, where its total is wrong.
async fn miscounted_lists(conn: &mut Conn, project: ProjectId) -> Result<Vec<(RepositoryId, i64)>> {
    conn.rows(
        "SELECT id, missing FROM (
             SELECT r.id AS id,
                    CAST((SELECT COUNT(*) FROM artifacts a WHERE a.repository_id = r.id AND a.listed)
                       - COALESCE((SELECT SUM(c.n) FROM counters c WHERE c.name = 'repository.artifacts' AND c.id = r.id), 0) AS BIGINT) AS missing
               FROM repositories r
              WHERE r.project_id = $1) AS totals
          WHERE missing <> 0
          ORDER BY id
          LIMIT $2",
        &[project.into(), MOST_LISTS.into()],
        |row| Ok((RepositoryId(row.int(0)?), row.int(1)?)),
    )
    .await
}
