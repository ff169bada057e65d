//! The job queue: rows claimed under a lease. A lease that ran out makes its job available again; every write of a runner
//! names the attempt it was given, so that a runner that lost its job cannot write any more.
//!
//! What Harbor calls an execution is a job that somebody or a schedule began (`trigger_kind`); its tasks, when it has any, are jobs
//! that name it as their parent, and it ends with the last of them.

mod attempt;
mod claim;
pub mod executions;
mod logs;
pub mod queues;
mod sweep;

use model::{
    Error, Result, What,
    id::JobId,
    job::{Job, Trigger},
    time::Timestamp,
};

pub use self::{
    attempt::{Attempt, End, Heartbeat, end, give_back, heartbeat, holds, listen, retry, split},
    claim::{Claimed, Queue, claim, next_due},
    logs::{LogLine, MAX_LOG_LINE, MAX_LOG_LINES, count_logs, log, logs},
    sweep::{Forget, Swept, delete, superfluous, trim},
};
use crate::{Conn, Tx, value::Row};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits for its time, or for a runner.
    Ready,
    Running,
    /// Its own part is done; its tasks go on.
    Waiting,
    Done,
    Failed,
    Stopped,
}

impl State {
    const ALL: [Self; 6] = [
        Self::Ready,
        Self::Running,
        Self::Waiting,
        Self::Done,
        Self::Failed,
        Self::Stopped,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|state| state.as_str() == text)
            .ok_or_else(|| Error::Internal(anyhow::anyhow!("unknown state of a job `{text}`")))
    }
}

/// A job's row as people see it.
#[derive(Debug, Clone)]
pub struct JobRow {
    pub id: JobId,
    pub kind: String,
    pub state: State,
    pub attempt: i64,
    pub node: Option<String>,
    /// JSON: what the job counts while it runs and when it is done.
    pub progress: Option<String>,
    pub message: Option<String>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub stop: bool,
    /// JSON: what it is asked to do.
    pub payload: String,
    pub parent: Option<JobId>,
    /// The policy that it is listed under; 0 for the system.
    pub subject: i64,
    /// Empty for what goes on by itself.
    pub trigger: String,
    /// What a task is about, in words.
    pub resource: Option<String>,
}

impl JobRow {
    /// What it is asked to do; none when it is of a version that this one does not know.
    pub fn job(&self) -> Option<Job> {
        serde_json::from_str(&self.payload).ok()
    }

    /// When something about it last changed, as far as people care.
    pub fn updated_at(&self) -> Timestamp {
        self.ended_at.or(self.started_at).unwrap_or(self.created_at)
    }
}

/// The columns of a [`JobRow`], of the table `jobs j`.
const COLUMNS: &[&str] = &[
    "j.id",
    "j.kind",
    "j.state",
    "j.attempt",
    "j.node",
    "j.progress",
    "j.message",
    "j.created_at",
    "j.started_at",
    "j.ended_at",
    "j.stop",
    "j.payload",
    "j.parent_id",
    "j.subject_id",
    "j.trigger_kind",
    "j.resource",
];

fn read(row: &Row<'_>) -> Result<JobRow> {
    Ok(JobRow {
        id: JobId(row.int(0)?),
        kind: row.text(1)?,
        state: State::parse(&row.text(2)?)?,
        attempt: row.int(3)?,
        node: row.opt_text(4)?,
        progress: row.opt_text(5)?,
        message: row.opt_text(6)?,
        created_at: row.time(7)?,
        started_at: row.opt_time(8)?,
        ended_at: row.opt_time(9)?,
        stop: row.bool(10)?,
        payload: row.text(11)?,
        parent: row.opt_int(12)?.map(JobId),
        subject: row.int(13)?,
        trigger: row.text(14)?,
        resource: row.opt_text(15)?,
    })
}

/// A job that is to be enqueued.
#[derive(Debug, Clone, Copy)]
pub struct New<'a> {
    pub job: &'a Job,
    pub run_at: Timestamp,
    /// Who or what began it, when people shall see it as an execution.
    pub trigger: Option<Trigger>,
    /// The execution whose task it is, and what the task is about.
    pub task_of: Option<(JobId, &'a str)>,
}

impl<'a> New<'a> {
    /// One that nobody sees as an execution.
    pub fn of(job: &'a Job, run_at: Timestamp) -> Self {
        Self {
            job,
            run_at,
            trigger: None,
            task_of: None,
        }
    }

    /// One that people see as an execution, due at once.
    pub fn begun_by(trigger: Trigger, job: &'a Job, now: Timestamp) -> Self {
        Self {
            trigger: Some(trigger),
            ..Self::of(job, now)
        }
    }
}

/// Puts a job into the queue. When one with the same unique key waits or runs already, its number is answered; one that
/// waits is hurried and raised to what is asked for now, never put off.
pub async fn enqueue(tx: &mut Tx, job: &Job, run_at: Timestamp, now: Timestamp) -> Result<JobId> {
    enqueue_new(tx, &New::of(job, run_at), now).await
}

pub async fn enqueue_new(tx: &mut Tx, new: &New<'_>, now: Timestamp) -> Result<JobId> {
    let payload =
        serde_json::to_string(new.job).map_err(model::error::internal("serialising a job"))?;
    tx.wake_jobs();
    let key = new.job.unique_key();
    // Another round only when the one that stood in the way ended between the two statements.
    for _ in 0..3 {
        if let Some(id) = insert(tx, new, key.as_deref(), &payload, now).await? {
            return Ok(id);
        }
        if let Some(key) = &key
            && let Some(id) = hurry(tx, key, new, &payload).await?
        {
            return Ok(id);
        }
    }
    Err(Error::Unavailable(anyhow::anyhow!(
        "`{}` jobs come and go too quickly: try again",
        new.job.kind()
    )))
}

async fn insert(
    tx: &mut Tx,
    new: &New<'_>,
    key: Option<&str>,
    payload: &String,
    now: Timestamp,
) -> Result<Option<JobId>> {
    let (parent, resource) = new.task_of.unzip();
    tx.row(
        "INSERT INTO jobs (kind, unique_key, payload, state, priority, run_at, created_at, parent_id, subject_id, trigger_kind, resource)
         VALUES ($1, $2, $3, 'ready', $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT DO NOTHING
         RETURNING id",
        &[
            new.job.kind().as_str().into(),
            key.into(),
            payload.into(),
            new.job.priority().into(),
            new.run_at.into(),
            now.into(),
            parent.map(|parent| parent.0).into(),
            new.job.subject().into(),
            new.trigger.map_or("", Trigger::as_str).into(),
            resource.into(),
        ],
        |row| Ok(JobId(row.int(0)?)),
    )
    .await
}

async fn hurry(tx: &mut Tx, key: &str, new: &New<'_>, payload: &String) -> Result<Option<JobId>> {
    tx.row(
        "UPDATE jobs SET
             run_at   = CASE WHEN state = 'ready' AND run_at > $2 THEN $2 ELSE run_at END,
             payload  = CASE WHEN state = 'ready' AND priority < $4 THEN $3 ELSE payload END,
             priority = CASE WHEN state = 'ready' AND priority < $4 THEN $4 ELSE priority END
          WHERE unique_key = $1 AND state IN ('ready', 'running')
         RETURNING id",
        &[
            key.into(),
            new.run_at.into(),
            payload.into(),
            new.job.priority().into(),
        ],
        |row| Ok(JobId(row.int(0)?)),
    )
    .await
}

/// Tasks that one step of a stop takes.
const STEP: i64 = 1000;

/// Asks a job to stop, and with an execution all its tasks: what waits is stopped at once, what runs hears it within a second, on
/// whatever node. True when there are more tasks than one step takes: then it is to be asked again.
pub async fn stop(tx: &mut Tx, id: JobId) -> Result<bool> {
    let now = tx.now().await?;
    // Tasks before what they belong to, as whoever ends one; and again for those that were made before the execution heard it.
    let mut stopped = stop_tasks(tx, id, now).await?;
    // In one statement: between two a waiting job could begin, or a running one be given back, unheard.
    let parent = tx
        .row(
            "UPDATE jobs SET
                 stop     = TRUE,
                 ended_at = CASE WHEN state = 'ready' THEN $2 ELSE ended_at END,
                 state    = CASE WHEN state = 'ready' THEN 'stopped' ELSE state END
              WHERE id = $1 AND state IN ('ready', 'running', 'waiting')
             RETURNING parent_id",
            &[id.into(), now.into()],
            |row| row.opt_int(0),
        )
        .await?;
    stopped = stopped.max(stop_tasks(tx, id, now).await?);
    executions::settle(tx, id, now).await?;
    if let Some(parent) = parent.flatten() {
        executions::settle(tx, JobId(parent), now).await?;
    }
    tx.wake_jobs();
    Ok(stopped == STEP.unsigned_abs())
}

async fn stop_tasks(tx: &mut Tx, execution: JobId, now: Timestamp) -> Result<u64> {
    tx.execute(
        "UPDATE jobs SET
             stop     = TRUE,
             ended_at = CASE WHEN state = 'ready' THEN $2 ELSE ended_at END,
             state    = CASE WHEN state = 'ready' THEN 'stopped' ELSE state END
          WHERE id IN (SELECT id FROM jobs WHERE parent_id = $1 AND state IN ('ready', 'running') AND NOT stop LIMIT $3)
            AND state IN ('ready', 'running')",
        &[execution.into(), now.into(), STEP.into()],
    )
    .await
}

pub async fn find(conn: &mut Conn, id: JobId) -> Result<Option<JobRow>> {
    conn.row(
        "SELECT id, kind, state, attempt, node, progress, message, created_at, started_at, ended_at, stop, payload, parent_id, subject_id, trigger_kind, resource
           FROM jobs WHERE id = $1",
        &[id.into()],
        read,
    )
    .await
}

pub async fn get(conn: &mut Conn, id: JobId) -> Result<JobRow> {
    find(conn, id).await?.ok_or_else(|| not_found(id))
}

pub fn not_found(id: JobId) -> Error {
    Error::not_found(What::Job, format!("job {id} not found"))
}

/// The newest first, after (that is, older than) `before`.
pub async fn list(conn: &mut Conn, before: JobId, limit: i64) -> Result<Vec<JobRow>> {
    conn.rows(
        "SELECT id, kind, state, attempt, node, progress, message, created_at, started_at, ended_at, stop, payload, parent_id, subject_id, trigger_kind, resource
           FROM jobs WHERE id < $1 ORDER BY id DESC LIMIT $2",
        &[before.into(), limit.into()],
        read,
    )
    .await
}

/// Before which all jobs come.
pub const NEWEST: JobId = JobId(i64::MAX);
