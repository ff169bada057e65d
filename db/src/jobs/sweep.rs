//! Old jobs go: so many executions of each kind and subject stay, and nothing stays for ever.

use model::{
    Result,
    id::JobId,
    job::{Job, Kind},
    time::Timestamp,
};

use crate::{Conn, Tx, blobs::json_numbers, dialect::with_numbers};

/// Which ended jobs are forgotten for their age: those that ended before `all`, and of those that went well and nobody had begun or
/// asked for also those before `unasked`. Tasks go with their execution.
#[derive(Debug, Clone, Copy)]
pub struct Forget {
    pub all: Timestamp,
    pub unasked: Timestamp,
}

/// What one step took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub jobs: u64,
    /// Rows of logs.
    pub lines: u64,
}

impl Swept {
    /// Whether there was nothing to take.
    pub fn is_over(self) -> bool {
        self == Self::default()
    }
}

/// Forgets up to `limit` jobs (also tasks whose execution an older version has forgotten), tasks before their executions and logs before their jobs.
pub async fn trim(tx: &mut Tx, forget: Forget, limit: i64) -> Result<Swept> {
    let mut jobs = tx
        .rows(
            "SELECT id FROM jobs
              WHERE ended_at < $1
                AND (parent_id IS NULL OR NOT EXISTS (SELECT 1 FROM jobs p WHERE p.id = jobs.parent_id))
              ORDER BY ended_at, id
              LIMIT $2",
            &[forget.all.into(), limit.into()],
            |row| Ok(JobId(row.int(0)?)),
        )
        .await?;
    if jobs.is_empty() {
        jobs = tx
            .rows(
                "SELECT id FROM jobs
                  WHERE ended_at < $1 AND trigger_kind = '' AND parent_id IS NULL AND ended_at IS NOT NULL
                    AND state = 'done' AND priority < $2
                  ORDER BY ended_at, id
                  LIMIT $3",
                &[
                    forget.unasked.into(),
                    Job::ASKED_FOR.into(),
                    limit.into(),
                ],
                |row| Ok(JobId(row.int(0)?)),
            )
            .await?;
    }
    delete(tx, &jobs, limit).await
}

/// Executions of a kind, of any subject, beyond the newest `keep` that have ended.
pub async fn superfluous(conn: &mut Conn, kind: Kind, keep: i64, limit: i64) -> Result<Vec<JobId>> {
    // Each by its rank among those of its subject; a sweep keeps them few.
    conn.rows(
        "SELECT id FROM (
             SELECT id, ROW_NUMBER() OVER (PARTITION BY subject_id ORDER BY id DESC) AS place
               FROM jobs
              WHERE kind = $1 AND trigger_kind <> '' AND ended_at IS NOT NULL) AS ranked
          WHERE place > $2
          ORDER BY id
          LIMIT $3",
        &[kind.as_str().into(), keep.into(), limit.into()],
        |row| Ok(JobId(row.int(0)?)),
    )
    .await
}

/// Forgets these jobs, as far as `limit` goes.
pub async fn delete(tx: &mut Tx, jobs: &[JobId], limit: i64) -> Result<Swept> {
    let mut swept = Swept::default();
    if jobs.is_empty() {
        return Ok(swept);
    }
    let parents = json_numbers(jobs.iter().map(|id| id.0));
    let sql = with_numbers!(
        tx,
        "SELECT id FROM jobs WHERE parent_id IS NOT NULL AND parent_id IN",
        "$1",
        "LIMIT $2"
    );
    let tasks = tx
        .rows(sql, &[(&parents).into(), limit.into()], |row| row.int(0))
        .await?;
    // The executions themselves when none of their tasks is left.
    let list = if tasks.is_empty() {
        parents
    } else {
        json_numbers(tasks)
    };
    let sql = with_numbers!(
        tx,
        "DELETE FROM job_logs WHERE id IN (SELECT id FROM job_logs WHERE job_id IN",
        "$1",
        "LIMIT $2)"
    );
    swept.lines = tx.execute(sql, &[(&list).into(), limit.into()]).await?;
    if swept.lines >= limit.unsigned_abs() {
        return Ok(swept);
    }
    let sql = with_numbers!(tx, "DELETE FROM jobs WHERE id IN", "$1", "");
    swept.jobs = tx.execute(sql, &[(&list).into()]).await?;
    Ok(swept)
}
