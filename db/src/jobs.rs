//! The job queue: rows claimed under a lease. A lease that ran out makes its job available again; every write of a runner
//! names the attempt it was given, so a runner that lost its job cannot write any more.

use std::time::Duration;

use model::{Error, Result, What, id::JobId, job::Job, time::Timestamp};

use crate::{
    Conn, Tx,
    blobs::json_numbers,
    dialect::{locking, with_numbers},
    value::Row,
};

/// A job's row as people see it.
#[derive(Debug, Clone)]
pub struct JobRow {
    pub id: JobId,
    pub kind: String,
    pub state: String,
    pub attempt: i64,
    pub node: Option<String>,
    /// JSON: what the job counts while it runs and when it is done.
    pub progress: Option<String>,
    pub message: Option<String>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub stop: bool,
}

/// A job that this node runs now.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub id: JobId,
    pub attempt: i64,
    /// Attempts before this one that ended in an error, or whose node never came back.
    pub failures: i64,
    pub job: Job,
}

fn read(row: &Row<'_>) -> Result<JobRow> {
    Ok(JobRow {
        id: JobId(row.int(0)?),
        kind: row.text(1)?,
        state: row.text(2)?,
        attempt: row.int(3)?,
        node: row.opt_text(4)?,
        progress: row.opt_text(5)?,
        message: row.opt_text(6)?,
        created_at: row.time(7)?,
        started_at: row.opt_time(8)?,
        ended_at: row.opt_time(9)?,
        stop: row.bool(10)?,
    })
}

/// Puts a job into the queue. When one with the same unique key waits or runs already, its number is answered; one that
/// waits is hurried and raised to what is asked for now, never put off.
pub async fn enqueue(tx: &mut Tx, job: &Job, run_at: Timestamp, now: Timestamp) -> Result<JobId> {
    let payload =
        serde_json::to_string(job).map_err(model::error::internal("serialising a job"))?;
    tx.wake_jobs();
    // Another round only when the one that stood in the way ended between the two statements.
    for _ in 0..3 {
        let made = tx
            .row(
                "INSERT INTO jobs (kind, unique_key, payload, state, priority, run_at, created_at)
                 VALUES ($1, $2, $3, 'ready', $4, $5, $6)
                 ON CONFLICT DO NOTHING
                 RETURNING id",
                &[
                    job.kind().into(),
                    (&*job.unique_key()).into(),
                    (&payload).into(),
                    job.priority().into(),
                    run_at.into(),
                    now.into(),
                ],
                |row| Ok(JobId(row.int(0)?)),
            )
            .await?;
        if let Some(id) = made {
            return Ok(id);
        }
        if let Some(id) = hurry(tx, job, &payload, run_at).await? {
            return Ok(id);
        }
    }
    Err(Error::Unavailable(anyhow::anyhow!(
        "`{}` jobs come and go too quickly: try again",
        job.kind()
    )))
}

async fn hurry(tx: &mut Tx, job: &Job, payload: &str, run_at: Timestamp) -> Result<Option<JobId>> {
    tx.row(
        "UPDATE jobs SET
             run_at   = CASE WHEN state = 'ready' AND run_at > $2 THEN $2 ELSE run_at END,
             payload  = CASE WHEN state = 'ready' AND priority < $4 THEN $3 ELSE payload END,
             priority = CASE WHEN state = 'ready' AND priority < $4 THEN $4 ELSE priority END
          WHERE unique_key = $1 AND state IN ('ready', 'running')
         RETURNING id",
        &[
            (&*job.unique_key()).into(),
            run_at.into(),
            payload.into(),
            job.priority().into(),
        ],
        |row| Ok(JobId(row.int(0)?)),
    )
    .await
}

/// How long a job waits that this binary does not know: in an upgrade under way a newer node takes it meanwhile.
const UNKNOWN_WAITS: Duration = Duration::from_mins(2);

/// Takes the next job that is due, or one whose lease ran out: that counts as a failure of its last attempt. A lease that
/// ends later than any that is given now was written by a clock that was ahead, and counts as over.
pub async fn claim(tx: &mut Tx, node: &str, lease: Duration) -> Result<Option<Claimed>> {
    let now = tx.now().await?;
    loop {
        let sql = locking!(
            tx,
            "SELECT id FROM jobs
              WHERE ended_at IS NULL AND
                    ((state = 'ready' AND run_at <= $1) OR (state = 'running' AND (lease_until < $1 OR lease_until > $2)))
              ORDER BY priority DESC, run_at, id
              LIMIT 1",
            "FOR UPDATE SKIP LOCKED"
        );
        let values = &[now.into(), now.plus(lease * 2).into()];
        let Some(id) = tx.row(sql, values, |row| row.int(0)).await? else {
            return Ok(None);
        };
        let row = tx
            .row(
                "UPDATE jobs SET
                     state       = 'running',
                     attempt     = attempt + 1,
                     failures    = failures + CASE WHEN state = 'running' THEN 1 ELSE 0 END,
                     node        = $2,
                     lease_until = $3,
                     started_at  = COALESCE(started_at, $4)
                  WHERE id = $1
                 RETURNING attempt, failures, payload, stop",
                &[id.into(), node.into(), now.plus(lease).into(), now.into()],
                |row| Ok((row.int(0)?, row.int(1)?, row.text(2)?, row.bool(3)?)),
            )
            .await?;
        let Some((attempt, failures, payload, stop)) = row else {
            return Ok(None);
        };
        if stop {
            // Its node went away before it heard of it.
            end(tx, JobId(id), attempt, End::Stopped, None, None).await?;
            continue;
        }
        if let Ok(job) = serde_json::from_str(&payload) {
            return Ok(Some(Claimed {
                id: JobId(id),
                attempt,
                failures,
                job,
            }));
        }
        tx.execute(
            "UPDATE jobs SET state = 'ready', lease_until = NULL, run_at = $2, message = 'this version does not know such a job' WHERE id = $1",
            &[id.into(), now.plus(UNKNOWN_WAITS).into()],
        )
        .await?;
    }
}

/// What a runner hears when it renews its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    GoOn,
    /// Somebody asked the job to stop.
    Stop,
    /// The job belongs to another attempt now.
    Lost,
}

/// Renews the lease and shows progress.
pub async fn heartbeat(
    tx: &mut Tx,
    id: JobId,
    attempt: i64,
    lease: Duration,
    progress: Option<&str>,
) -> Result<Heartbeat> {
    let now = tx.now().await?;
    let stop = tx
        .row(
            "UPDATE jobs SET lease_until = $3, progress = COALESCE($4, progress)
              WHERE id = $1 AND attempt = $2 AND state = 'running'
             RETURNING stop",
            &[
                id.into(),
                attempt.into(),
                now.plus(lease).into(),
                progress.into(),
            ],
            |row| row.bool(0),
        )
        .await?;
    Ok(heard(stop))
}

/// What a heartbeat would hear, without renewing anything.
pub async fn listen(conn: &mut Conn, id: JobId, attempt: i64) -> Result<Heartbeat> {
    let stop = conn
        .row(
            "SELECT stop FROM jobs WHERE id = $1 AND attempt = $2 AND state = 'running'",
            &[id.into(), attempt.into()],
            |row| row.bool(0),
        )
        .await?;
    Ok(heard(stop))
}

fn heard(stop: Option<bool>) -> Heartbeat {
    match stop {
        None => Heartbeat::Lost,
        Some(true) => Heartbeat::Stop,
        Some(false) => Heartbeat::GoOn,
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Done,
    Failed,
    Stopped,
}

impl End {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// Ends a job. False when it belongs to another attempt now.
pub async fn end(
    tx: &mut Tx,
    id: JobId,
    attempt: i64,
    end: End,
    progress: Option<&str>,
    message: Option<&str>,
) -> Result<bool> {
    let now = tx.now().await?;
    let ended = tx
        .execute(
            "UPDATE jobs SET state = $3, ended_at = $4, lease_until = NULL, progress = COALESCE($5, progress), message = $6
              WHERE id = $1 AND attempt = $2 AND state = 'running'",
            &[id.into(), attempt.into(), end.as_str().into(), now.into(), progress.into(), message.into()],
        )
        .await?;
    Ok(ended > 0)
}

/// Puts a job back whose attempt failed, for another one after a while; one that was asked to stop has stopped. False when
/// it belongs to another attempt now.
pub async fn retry(
    tx: &mut Tx,
    id: JobId,
    attempt: i64,
    after: Duration,
    message: &str,
) -> Result<bool> {
    let now = tx.now().await?;
    let changed = tx
        .execute(
            "UPDATE jobs SET
                 state       = CASE WHEN stop THEN 'stopped' ELSE 'ready' END,
                 ended_at    = CASE WHEN stop THEN $5 ELSE ended_at END,
                 failures    = failures + 1,
                 run_at      = $3,
                 lease_until = NULL,
                 message     = $4
              WHERE id = $1 AND attempt = $2 AND state = 'running'",
            &[
                id.into(),
                attempt.into(),
                now.plus(after).into(),
                message.into(),
                now.into(),
            ],
        )
        .await?;
    tx.wake_jobs();
    Ok(changed > 0)
}

/// Puts a job back for another node, at once, since this one stops. False when it belongs to another attempt now.
pub async fn give_back(tx: &mut Tx, id: JobId, attempt: i64) -> Result<bool> {
    let now = tx.now().await?;
    let changed = tx
        .execute(
            "UPDATE jobs SET
                 state       = CASE WHEN stop THEN 'stopped' ELSE 'ready' END,
                 ended_at    = CASE WHEN stop THEN $3 ELSE ended_at END,
                 run_at      = $3,
                 lease_until = NULL
              WHERE id = $1 AND attempt = $2 AND state = 'running'",
            &[id.into(), attempt.into(), now.into()],
        )
        .await?;
    tx.wake_jobs();
    Ok(changed > 0)
}

/// Asks a job to stop: one that waits is stopped at once, one that runs on this node hears it at once, on another within a second.
pub async fn stop(tx: &mut Tx, id: JobId) -> Result<()> {
    let now = tx.now().await?;
    // In one statement: between two a waiting job could begin, or a running one be given back, unheard.
    tx.execute(
        "UPDATE jobs SET
             stop     = TRUE,
             ended_at = CASE WHEN state = 'ready' THEN $2 ELSE ended_at END,
             state    = CASE WHEN state = 'ready' THEN 'stopped' ELSE state END
          WHERE id = $1 AND state IN ('ready', 'running')",
        &[id.into(), now.into()],
    )
    .await?;
    tx.wake_jobs();
    Ok(())
}

pub async fn get(conn: &mut Conn, id: JobId) -> Result<JobRow> {
    conn.row(
        "SELECT id, kind, state, attempt, node, progress, message, created_at, started_at, ended_at, stop FROM jobs WHERE id = $1",
        &[id.into()],
        read,
    )
    .await?
    .ok_or_else(|| Error::not_found(What::Job, format!("job {id} not found")))
}

/// The newest first.
pub async fn list(conn: &mut Conn, limit: i64) -> Result<Vec<JobRow>> {
    conn.rows(
        "SELECT id, kind, state, attempt, node, progress, message, created_at, started_at, ended_at, stop
           FROM jobs ORDER BY id DESC LIMIT $1",
        &[limit.into()],
        read,
    )
    .await
}

/// When the next waiting job is due, or the next lease ends.
pub async fn next_due(conn: &mut Conn) -> Result<Option<Timestamp>> {
    let due = conn
        .row(
            "SELECT MIN(CASE WHEN state = 'ready' THEN run_at ELSE lease_until END) FROM jobs WHERE ended_at IS NULL",
            &[],
            |row| row.opt_time(0),
        )
        .await?;
    Ok(due.flatten())
}

/// Lines that a job's log may have; whoever writes them counts.
pub const MAX_LOG_LINES: i64 = 10_000;
/// Bytes of a line; what is longer is cut.
pub const MAX_LOG_LINE: usize = 4096;

/// One line of a job's log.
#[derive(Debug, Clone)]
pub struct LogLine {
    pub id: i64,
    pub at: Timestamp,
    pub text: String,
}

/// Adds lines to a job's log. False when the job belongs to another attempt now.
pub async fn log(
    tx: &mut Tx,
    id: JobId,
    attempt: i64,
    lines: &[impl AsRef<str> + Sync],
) -> Result<bool> {
    let now = tx.now().await?;
    for line in lines {
        let line = line.as_ref();
        let line = &line[..line.floor_char_boundary(MAX_LOG_LINE)];
        let written = tx
            .execute(
                "INSERT INTO job_logs (job_id, attempt, at, line)
                 SELECT $1, $2, $3, $4 WHERE EXISTS (SELECT 1 FROM jobs WHERE id = $1 AND attempt = $2 AND state = 'running')",
                &[id.into(), attempt.into(), now.into(), line.into()],
            )
            .await?;
        if written == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How many lines a job's log has.
pub async fn count_logs(conn: &mut Conn, id: JobId) -> Result<i64> {
    let count = conn
        .row(
            "SELECT COUNT(*) FROM job_logs WHERE job_id = $1",
            &[id.into()],
            |row| row.int(0),
        )
        .await?;
    Ok(count.unwrap_or(0))
}

/// Lines of a job's log after the one with number `after`.
pub async fn logs(conn: &mut Conn, id: JobId, after: i64, limit: i64) -> Result<Vec<LogLine>> {
    conn.rows(
        "SELECT id, at, line FROM job_logs WHERE job_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        &[id.into(), after.into(), limit.into()],
        |row| {
            Ok(LogLine {
                id: row.int(0)?,
                at: row.time(1)?,
                text: row.text(2)?,
            })
        },
    )
    .await
}

/// Which ended jobs are forgotten: those that ended before `all`, and of those that went well and nobody had asked for also
/// those before `unasked`.
#[derive(Debug, Clone, Copy)]
pub struct Forget {
    pub all: Timestamp,
    pub unasked: Timestamp,
}

/// Forgets up to `limit` rows, lines of logs before their jobs; answers how many jobs went, or `None` when it is over.
pub async fn trim(tx: &mut Tx, forget: Forget, limit: i64) -> Result<Option<u64>> {
    let jobs = tx
        .rows(
            "SELECT id FROM jobs
              WHERE ended_at < $1 AND (ended_at < $2 OR (state = 'done' AND priority < $3))
              ORDER BY ended_at, id
              LIMIT $4",
            &[
                forget.unasked.max(forget.all).into(),
                forget.all.into(),
                Job::ASKED_FOR.into(),
                limit.into(),
            ],
            |row| row.int(0),
        )
        .await?;
    if jobs.is_empty() {
        return Ok(None);
    }
    let list = json_numbers(jobs);
    let sql = with_numbers!(
        tx,
        "DELETE FROM job_logs WHERE id IN (SELECT id FROM job_logs WHERE job_id IN",
        "$1",
        "LIMIT $2)"
    );
    let lines = tx.execute(sql, &[(&list).into(), limit.into()]).await?;
    if lines >= limit.unsigned_abs() {
        return Ok(Some(0));
    }
    let sql = with_numbers!(tx, "DELETE FROM jobs WHERE id IN", "$1", "");
    tx.execute(sql, &[(&list).into()]).await.map(Some)
}
