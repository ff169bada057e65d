//! Retention policies, one a project, and what they judge.

use model::{
    Error, Result, What,
    change::Kind,
    id::{ArtifactId, PolicyId, ProjectId, RepositoryId, new_uid},
    job::{Job, Kind as JobKind},
    metadata::RETENTION,
    retention::Policy,
    time::Timestamp,
};
use oci::digest::Digest;
use serde_json::json;

use crate::{
    Conn, Tx,
    blobs::json_numbers,
    changes,
    dialect::{locking, with_numbers},
    project_metadata,
    projects::{self, Project},
    schedules,
    value::Row,
};

/// A policy as it is kept.
#[derive(Debug, Clone)]
pub struct Stored {
    pub id: PolicyId,
    pub uid: String,
    pub project: ProjectId,
    pub policy: Policy,
}

fn read(row: &Row<'_>) -> Result<Stored> {
    let text = row.text(3)?;
    Ok(Stored {
        id: PolicyId(row.int(0)?),
        uid: row.text(1)?,
        project: ProjectId(row.int(2)?),
        policy: serde_json::from_str(&text)
            .map_err(model::error::internal("reading a retention policy"))?,
    })
}

pub async fn find(conn: &mut Conn, id: PolicyId) -> Result<Option<Stored>> {
    conn.row(
        "SELECT id, uid, project_id, policy FROM retention_policies WHERE id = $1",
        &[id.into()],
        read,
    )
    .await
}

/// Holds a policy until the transaction ends; none when it was deleted.
pub async fn hold(tx: &mut Tx, id: PolicyId) -> Result<Option<PolicyId>> {
    let sql = locking!(
        tx,
        "SELECT id FROM retention_policies WHERE id = $1",
        "FOR UPDATE"
    );
    tx.row(sql, &[id.into()], |row| Ok(PolicyId(row.int(0)?)))
        .await
}

pub async fn of_project(conn: &mut Conn, project: ProjectId) -> Result<Option<Stored>> {
    conn.row(
        "SELECT id, uid, project_id, policy FROM retention_policies WHERE project_id = $1",
        &[project.into()],
        read,
    )
    .await
}

/// Gives a project its policy, which its metadata then name.
pub async fn insert(
    tx: &mut Tx,
    project: &Project,
    policy: &Policy,
    now: Timestamp,
) -> Result<PolicyId> {
    projects::lock(tx, project).await?;
    let (uid, text) = (new_uid(), written(policy)?);
    let made = tx
        .row(
            "INSERT INTO retention_policies (uid, project_id, policy, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
             ON CONFLICT (project_id) DO NOTHING
             RETURNING id",
            &[(&uid).into(), project.id.into(), (&text).into(), now.into()],
            |row| Ok(PolicyId(row.int(0)?)),
        )
        .await?;
    let Some(id) = made else {
        let there = of_project(tx, project.id).await?;
        return Err(Error::invalid(
            What::Retention,
            format!(
                "project {} already has retention policy {}",
                project.id,
                there.map_or(0, |stored| stored.id.0)
            ),
        ));
    };
    let named = [(RETENTION.to_owned(), id.to_string())].into();
    project_metadata::set(tx, project, &named, now).await?;
    set_schedule(tx, id, policy, now).await?;
    let payload = json!({ "uid": uid, "policy": policy });
    tell(tx, Kind::RetentionCreated, project, &payload, now).await?;
    Ok(id)
}

pub async fn update(
    tx: &mut Tx,
    project: &Project,
    stored: &Stored,
    policy: &Policy,
    now: Timestamp,
) -> Result<()> {
    projects::lock(tx, project).await?;
    let text = written(policy)?;
    let updated = tx
        .execute(
            "UPDATE retention_policies SET policy = $2, updated_at = $3 WHERE id = $1",
            &[stored.id.into(), (&text).into(), now.into()],
        )
        .await?;
    if updated == 0 {
        return Err(not_found(stored.id));
    }
    set_schedule(tx, stored.id, policy, now).await?;
    let payload = json!({ "uid": stored.uid, "policy": policy });
    tell(tx, Kind::RetentionUpdated, project, &payload, now).await
}

/// A policy goes, and with it its schedule and its name in the project's metadata.
pub async fn delete(tx: &mut Tx, project: &Project, stored: &Stored, now: Timestamp) -> Result<()> {
    projects::lock(tx, project).await?;
    let deleted = tx
        .execute(
            "DELETE FROM retention_policies WHERE id = $1",
            &[stored.id.into()],
        )
        .await?;
    if deleted == 0 {
        return Err(not_found(stored.id));
    }
    schedules::remove(tx, JobKind::Retention.vendor(), stored.id.0, now).await?;
    project_metadata::remove(tx, project, RETENTION, now).await?;
    let payload = json!({ "uid": stored.uid });
    tell(tx, Kind::RetentionDeleted, project, &payload, now).await
}

/// With its project.
pub(crate) async fn end(tx: &mut Tx, project: ProjectId, now: Timestamp) -> Result<()> {
    let ended = tx
        .row(
            "DELETE FROM retention_policies WHERE project_id = $1 RETURNING id",
            &[project.into()],
            |row| row.int(0),
        )
        .await?;
    if let Some(id) = ended {
        schedules::remove(tx, JobKind::Retention.vendor(), id, now).await?;
    }
    Ok(())
}

/// With a project that comes back out of the trash.
pub(crate) async fn begin_anew(tx: &mut Tx, project: ProjectId, now: Timestamp) -> Result<()> {
    let Some(stored) = of_project(tx, project).await? else {
        return Ok(());
    };
    match set_schedule(tx, stored.id, &stored.policy, now).await {
        // Its time may not come any more; the policy can be run by hand and edited.
        Err(Error::Invalid(..)) => Ok(()),
        other => other,
    }
}

async fn set_schedule(tx: &mut Tx, id: PolicyId, policy: &Policy, now: Timestamp) -> Result<()> {
    let Some(cron) = policy.schedule()? else {
        schedules::remove(tx, JobKind::Retention.vendor(), id.0, now).await?;
        return Ok(());
    };
    let there = schedules::find(tx, JobKind::Retention.vendor(), id.0).await?;
    if there.is_some_and(|there| there.cron == cron.as_str()) {
        return Ok(()); // what is due stays due
    }
    let new = schedules::New {
        cron,
        cron_kind: String::new(),
        job: Job::Retention {
            policy: id,
            dry_run: false,
        },
        params: json!({}),
    };
    schedules::set(tx, &new, now).await.map(|_| ())
}

pub fn not_found(id: PolicyId) -> Error {
    Error::not_found(What::Retention, format!("retention policy {id} not found"))
}

fn written(policy: &Policy) -> Result<String> {
    serde_json::to_string(policy).map_err(model::error::internal("writing a retention policy"))
}

async fn tell(
    tx: &mut Tx,
    kind: Kind,
    project: &Project,
    payload: &serde_json::Value,
    now: Timestamp,
) -> Result<()> {
    changes::append(tx, kind, &project.name, Some(project.id), payload, now).await
}

/// An artifact as a policy judges it: those that lists show.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub id: ArtifactId,
    pub digest: Digest,
    pub pushed_at: Timestamp,
    pub pulled_at: Option<Timestamp>,
    /// An index names it.
    pub is_part: bool,
}

impl Candidate {
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            id: ArtifactId(row.int(0)?),
            digest: row.parsed(1)?,
            pushed_at: row.time(2)?,
            pulled_at: row.opt_time(3)?,
            is_part: row.bool(4)?,
        })
    }
}

/// Artifacts of a repository in the order in which they came, after one of them.
pub async fn candidates(
    conn: &mut Conn,
    repository: RepositoryId,
    after: (Timestamp, ArtifactId),
    limit: i64,
) -> Result<Vec<Candidate>> {
    conn.rows(
        "SELECT id, digest, pushed_at, pulled_at, EXISTS (SELECT 1 FROM artifact_children c WHERE c.child_id = artifacts.id)
           FROM artifacts
          WHERE repository_id = $1 AND listed AND (pushed_at, id) > ($2, $3)
          ORDER BY pushed_at, id
          LIMIT $4",
        &[
            repository.into(),
            after.0.into(),
            after.1.into(),
            limit.into(),
        ],
        Candidate::read,
    )
    .await
}

/// A tag of such an artifact.
#[derive(Debug, Clone)]
pub struct CandidateTag {
    pub id: i64,
    pub artifact: ArtifactId,
    pub name: String,
    pub pushed_at: Timestamp,
    pub pulled_at: Option<Timestamp>,
}

/// Tags of these artifacts, in order of the artifacts' numbers and of their own, after one of them.
pub async fn candidate_tags(
    conn: &mut Conn,
    artifacts: &[ArtifactId],
    after: (ArtifactId, i64),
    limit: i64,
) -> Result<Vec<CandidateTag>> {
    let rest = artifacts.iter().filter(|id| **id >= after.0);
    let list = json_numbers(rest.map(|id| id.0));
    let values = &[(&list).into(), after.0.into(), after.1.into(), limit.into()];
    conn.rows(candidate_tags_sql(conn), values, |row| {
        Ok(CandidateTag {
            id: row.int(0)?,
            artifact: ArtifactId(row.int(1)?),
            name: row.text(2)?,
            pushed_at: row.time(3)?,
            pulled_at: row.opt_time(4)?,
        })
    })
    .await
}

fn candidate_tags_sql(conn: &Conn) -> &'static str {
    if conn.locks_rows() {
        // Left to itself PostgreSQL reads every tag behind `after` for each page: artifact by artifact it stops where the page is full.
        "SELECT t.id, a.id, t.name, t.pushed_at, t.pulled_at
           FROM (SELECT CAST(json_array_elements_text(CAST($1 AS JSON)) AS BIGINT) AS id ORDER BY 1) a
          CROSS JOIN LATERAL
                (SELECT id, name, pushed_at, pulled_at FROM tags
                  WHERE artifact_id = a.id AND (artifact_id, id) > ($2, $3)
                  ORDER BY id
                  LIMIT $4) t
          ORDER BY a.id, t.id
          LIMIT $4"
    } else {
        "SELECT id, artifact_id, name, pushed_at, pulled_at FROM tags
          WHERE (artifact_id, id) > ($2, $3) AND artifact_id IN (SELECT value FROM json_each($1))
          ORDER BY artifact_id, id
          LIMIT $4"
    }
}

/// Which of these artifacts have a tag.
pub async fn tagged(conn: &mut Conn, artifacts: &[ArtifactId]) -> Result<Vec<ArtifactId>> {
    let list = json_numbers(artifacts.iter().map(|id| id.0));
    let sql = with_numbers!(
        conn,
        "SELECT a.id FROM artifacts a WHERE EXISTS (SELECT 1 FROM tags t WHERE t.artifact_id = a.id) AND a.id IN",
        "$1",
        "ORDER BY a.id"
    );
    conn.rows(sql, &[(&list).into()], |row| Ok(ArtifactId(row.int(0)?)))
        .await
}
