//! What a runner writes about the attempt it was given. Each write names the attempt, and says whether it was still the runner's to
//! make.

use std::time::Duration;

use model::{Result, id::JobId, time::Timestamp};

use super::{executions, logs};
use crate::{Conn, Tx, dialect::locking, value::Row};

/// What a runner hears when it renews its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    GoOn,
    /// Somebody asked the job to stop.
    Stop,
    /// The job belongs to another attempt now.
    Lost,
}

/// Renews the lease and shows progress, as long as the attempt has the job.
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

/// An attempt on whose behalf something is written that is not the job's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub job: JobId,
    pub number: i64,
}

/// Whether the attempt has its job. Nobody takes the job over before this transaction has ended: what it writes is written by whoever
/// had the lease.
pub async fn holds(tx: &mut Tx, attempt: Attempt) -> Result<bool> {
    let sql = locking!(
        tx,
        "SELECT 1 FROM jobs WHERE id = $1 AND attempt = $2 AND state = 'running'",
        "FOR SHARE"
    );
    tx.exists(sql, &[attempt.job.into(), attempt.number.into()])
        .await
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

/// Ends a job; one that was asked to stop and failed for that has stopped. False when it belongs to another attempt now.
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
        .row(
            "UPDATE jobs SET state = CASE WHEN stop AND $3 = 'failed' THEN 'stopped' ELSE $3 END, ended_at = $4, lease_until = NULL, progress = COALESCE($5, progress), message = $6
              WHERE id = $1 AND attempt = $2 AND state = 'running'
             RETURNING parent_id, ended_at",
            &[id.into(), attempt.into(), end.as_str().into(), now.into(), progress.into(), message.into()],
            Written::read,
        )
        .await?;
    settle(tx, ended, now).await
}

/// The attempt has made the job's tasks: it ends with the last of them. False when it belongs to another attempt now.
pub async fn split(
    tx: &mut Tx,
    id: JobId,
    attempt: i64,
    progress: Option<&str>,
    message: Option<&str>,
) -> Result<bool> {
    let now = tx.now().await?;
    let changed = tx
        .execute(
            "UPDATE jobs SET state = 'waiting', lease_until = NULL, progress = COALESCE($3, progress), message = $4
              WHERE id = $1 AND attempt = $2 AND state = 'running'",
            &[id.into(), attempt.into(), progress.into(), message.into()],
        )
        .await?;
    // There may have been nothing to do, or it is done already.
    executions::settle(tx, id, now).await?;
    Ok(changed > 0)
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
    // The next attempt's end takes the message's place.
    let line = format!("attempt {attempt} failed: {message}");
    logs::log(tx, id, attempt, &[line]).await?;
    let now = tx.now().await?;
    let changed = tx
        .row(
            "UPDATE jobs SET
                 state       = CASE WHEN stop THEN 'stopped' ELSE 'ready' END,
                 ended_at    = CASE WHEN stop THEN $5 ELSE ended_at END,
                 failures    = failures + 1,
                 run_at      = $3,
                 lease_until = NULL,
                 message     = $4
              WHERE id = $1 AND attempt = $2 AND state = 'running'
             RETURNING parent_id, ended_at",
            &[
                id.into(),
                attempt.into(),
                now.plus(after).into(),
                message.into(),
                now.into(),
            ],
            Written::read,
        )
        .await?;
    tx.wake_jobs();
    settle(tx, changed, now).await
}

/// Puts a job back for another node, at once, since this one stops. False when it belongs to another attempt now.
pub async fn give_back(tx: &mut Tx, id: JobId, attempt: i64) -> Result<bool> {
    let now = tx.now().await?;
    let changed = tx
        .row(
            "UPDATE jobs SET
                 state       = CASE WHEN stop THEN 'stopped' ELSE 'ready' END,
                 ended_at    = CASE WHEN stop THEN $3 ELSE ended_at END,
                 run_at      = $3,
                 lease_until = NULL
              WHERE id = $1 AND attempt = $2 AND state = 'running'
             RETURNING parent_id, ended_at",
            &[id.into(), attempt.into(), now.into()],
            Written::read,
        )
        .await?;
    tx.wake_jobs();
    settle(tx, changed, now).await
}

struct Written {
    parent: Option<JobId>,
    has_ended: bool,
}

impl Written {
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            parent: row.opt_int(0)?.map(JobId),
            has_ended: row.opt_time(1)?.is_some(),
        })
    }
}

/// Ends the execution with its last task. False when nothing was written.
async fn settle(tx: &mut Tx, written: Option<Written>, now: Timestamp) -> Result<bool> {
    let Some(written) = written else {
        return Ok(false);
    };
    if let Some(parent) = written.parent.filter(|_| written.has_ended) {
        executions::settle(tx, parent, now).await?;
    }
    Ok(true)
}
