//! Repositories, made by the first push.

pub mod details;

use model::{
    Result,
    change::Kind,
    id::{ArtifactId, ProjectId, RepositoryId, UserId, new_uid},
    time::Timestamp,
};
use oci::name::RepoName;
use serde_json::json;

use crate::{
    Conn, Tx,
    artifacts::{self, Deletion},
    changes,
    counters::Counter,
    dialect::{contains, locking},
    generations::Touch,
    links, projects,
    trash::Bin,
    value::Row,
};

/// A repository as whoever changes something in it needs it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository {
    pub id: RepositoryId,
    pub project: ProjectId,
    /// With its project's name.
    pub name: String,
}

pub async fn find(conn: &mut Conn, name: &str) -> Result<Option<Repository>> {
    conn.row(
        "SELECT id, project_id FROM repositories WHERE name = $1",
        &[name.into()],
        |row| {
            Ok(Repository {
                id: RepositoryId(row.int(0)?),
                project: ProjectId(row.int(1)?),
                name: name.to_owned(),
            })
        },
    )
    .await
}

/// The same for whoever adds to it: it stays until the transaction ends, and its project's limit is known.
async fn hold(tx: &mut Tx, name: &str) -> Result<Option<Repository>> {
    let sql = locking!(
        tx,
        "SELECT r.id, r.project_id, COALESCE(q.hard, -1) FROM repositories r LEFT JOIN quotas q ON q.project_id = r.project_id WHERE r.name = $1",
        "FOR KEY SHARE OF r"
    );
    let found = tx
        .row(sql, &[name.into()], |row| {
            let (id, project) = (RepositoryId(row.int(0)?), ProjectId(row.int(1)?));
            Ok((id, project, row.int(2)?))
        })
        .await?;
    Ok(found.map(|(id, project, hard)| {
        tx.pending.limit(project, hard);
        Repository {
            id,
            project,
            name: name.to_owned(),
        }
    }))
}

/// The repository with this name, made when it is not there. Nobody remembers that a repository is missing, so nothing is touched.
pub async fn ensure(
    tx: &mut Tx,
    project: ProjectId,
    name: &RepoName,
    now: Timestamp,
) -> Result<Repository> {
    if let Some(known) = hold(tx, name.as_str()).await? {
        return Ok(known);
    }
    projects::hold(tx, project).await?;
    let uid = new_uid();
    let made = tx
        .row(
            "INSERT INTO repositories (uid, project_id, name, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $4)
             ON CONFLICT (name) DO NOTHING
             RETURNING id",
            &[
                (&uid).into(),
                project.into(),
                name.as_str().into(),
                now.into(),
            ],
            |row| Ok(RepositoryId(row.int(0)?)),
        )
        .await?;
    let Some(id) = made else {
        // Another transaction was faster and is committed by now: PostgreSQL waited for it.
        return hold(tx, name.as_str()).await?.ok_or_else(|| {
            model::Error::Internal(anyhow::anyhow!("repository `{name}` came and went"))
        });
    };
    tx.count(Counter::ProjectRepositories(project), 1);
    let payload = json!({ "uid": uid });
    let kind = Kind::RepositoryCreated;
    changes::append(tx, kind, name.as_str(), Some(project), &payload, now).await?;
    Ok(Repository {
        id,
        project,
        name: name.to_string(),
    })
}

/// Artifacts, and contents, that one step of a deletion takes at most.
pub const STEP: i64 = 100;

/// Deletes a repository with all it holds, a step at a time; true when it has gone. Whoever pushes to it meanwhile waits for the
/// step, and for the last one to find it gone and to make it anew. What its manifests named is asked about at `check_at`.
pub async fn delete_some(
    tx: &mut Tx,
    repository: &Repository,
    bin: Option<&Bin>,
    check_at: Timestamp,
    now: Timestamp,
) -> Result<bool> {
    let sql = locking!(tx, "SELECT 1 FROM repositories WHERE id = $1", "FOR UPDATE");
    if !tx.exists(sql, &[repository.id.into()]).await? {
        return Ok(true);
    }
    let artifacts = outermost(tx, repository.id).await?;
    if !artifacts.is_empty() {
        let mut deletion = Deletion::of_repository(&artifacts, bin.cloned());
        artifacts::delete_some(tx, repository, &mut deletion, check_at, now).await?;
        return Ok(false);
    }
    // Contents are locked before artifacts: so in a step of their own.
    if links::end_some(tx, repository, STEP, now).await? == STEP {
        return Ok(false);
    }
    tx.execute(
        "DELETE FROM repositories WHERE id = $1",
        &[repository.id.into()],
    )
    .await?;
    tx.count(Counter::ProjectRepositories(repository.project), -1);
    tx.pending.drop(Counter::RepositoryArtifacts(repository.id));
    tx.touch(Touch::Rights);
    tx.touch(Touch::Repository(repository.id));
    let (kind, project) = (Kind::RepositoryDeleted, Some(repository.project));
    changes::append(tx, kind, &repository.name, project, &json!({}), now).await?;
    Ok(true)
}

/// Artifacts that are in no index: what they name goes with them, or is outermost then.
async fn outermost(conn: &mut Conn, repository: RepositoryId) -> Result<Vec<ArtifactId>> {
    conn.rows(
        "SELECT a.id FROM artifacts a
          WHERE a.repository_id = $1 AND NOT EXISTS (SELECT 1 FROM artifact_children c WHERE c.child_id = a.id)
          ORDER BY a.digest
          LIMIT $2",
        &[repository.into(), STEP.into()],
        |row| Ok(ArtifactId(row.int(0)?)),
    )
    .await
}

/// The names of repositories that hold at least one artifact, sorted by byte, after `after`.
pub async fn catalog(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<String>> {
    conn.rows(
        "SELECT r.name FROM repositories r
          WHERE r.name > $1 AND EXISTS (SELECT 1 FROM artifacts a WHERE a.repository_id = r.id)
          ORDER BY r.name
          LIMIT $2",
        &[after.into(), limit.into()],
        |row| row.text(0),
    )
    .await
}

/// Repositories of a project, sorted by byte, after `after`.
pub async fn list(
    conn: &mut Conn,
    project: ProjectId,
    after: &str,
    limit: i64,
) -> Result<Vec<String>> {
    conn.rows(
        "SELECT name FROM repositories WHERE project_id = $1 AND name > $2 ORDER BY name LIMIT $3",
        &[project.into(), after.into(), limit.into()],
        |row| row.text(0),
    )
    .await
}

fn read(row: &Row<'_>) -> Result<Repository> {
    Ok(Repository {
        id: RepositoryId(row.int(0)?),
        project: ProjectId(row.int(1)?),
        name: row.text(2)?,
    })
}

/// All repositories in order of their numbers, after one of them.
pub async fn walk(conn: &mut Conn, after: RepositoryId, limit: i64) -> Result<Vec<Repository>> {
    conn.rows(
        "SELECT id, project_id, name FROM repositories WHERE id > $1 ORDER BY id LIMIT $2",
        &[after.into(), limit.into()],
        read,
    )
    .await
}

/// As [`list`], with their numbers.
pub async fn of_project(
    conn: &mut Conn,
    project: ProjectId,
    after: &str,
    limit: i64,
) -> Result<Vec<Repository>> {
    conn.rows(
        "SELECT id, project_id, name FROM repositories WHERE project_id = $1 AND name > $2 ORDER BY name LIMIT $3",
        &[project.into(), after.into(), limit.into()],
        read,
    )
    .await
}

pub async fn find_id(conn: &mut Conn, id: RepositoryId) -> Result<Option<Repository>> {
    conn.row(
        "SELECT id, project_id, name FROM repositories WHERE id = $1",
        &[id.into()],
        read,
    )
    .await
}

/// A repository as a search finds it.
#[derive(Debug, Clone)]
pub struct Found {
    pub name: String,
    pub project: ProjectId,
    pub project_name: String,
    pub public: bool,
    pub pulls: i64,
    pub artifacts: i64,
}

/// Among which projects a search looks.
#[derive(Debug, Clone, Copy)]
pub enum Among {
    All,
    Public,
    /// Public ones, and those that this user is a member of.
    VisibleTo(UserId),
}

/// In order of names, those whose name contains a text of small letters.
pub async fn search(conn: &mut Conn, text: &str, among: Among, limit: i64) -> Result<Vec<Found>> {
    let (all, user) = match among {
        Among::All => (true, 0),
        Among::Public => (false, 0),
        Among::VisibleTo(user) => (false, user.0),
    };
    conn.rows(
        "SELECT r.name, p.id, p.name, p.public, r.pulls,
                (SELECT CAST(COALESCE(SUM(c.n), 0) AS BIGINT) FROM counters c WHERE c.name = 'repository.artifacts' AND c.id = r.id)
           FROM repositories r
           JOIN projects p ON p.id = r.project_id
          WHERE r.name LIKE $1 ESCAPE '!'
            AND ($2 OR p.public
                 OR p.id IN (SELECT m.project_id FROM members m WHERE m.user_id = $3
                      UNION ALL SELECT m.project_id FROM group_users g JOIN members m ON m.group_id = g.group_id WHERE g.user_id = $3))
          ORDER BY r.name
          LIMIT $4",
        &[(&contains(text)).into(), all.into(), user.into(), limit.into()],
        |row| {
            Ok(Found {
                name: row.text(0)?,
                project: ProjectId(row.int(1)?),
                project_name: row.text(2)?,
                public: row.bool(3)?,
                pulls: row.int(4)?,
                artifacts: row.int(5)?,
            })
        },
    )
    .await
}
