//! Taking a job. A node says which queues it has room for; each is asked for its first by an index, so that neither the jobs that
//! ended nor the thousands that wait in another queue cost anything.

use std::time::Duration;

use model::{
    Result,
    id::JobId,
    job::{Job, Kind},
    time::Timestamp,
};
use serde_json::json;

use super::{End, attempt, executions};
use crate::{
    Conn, Tx,
    dialect::{locking, with_rows},
};

/// Jobs of one kind and one priority. Those are claimed in order of their times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    pub kind: Kind,
    pub priority: i64,
}

impl Queue {
    /// All there are.
    pub fn all() -> Vec<Self> {
        let kinds = Kind::ALL.iter();
        let all = kinds.flat_map(|kind| {
            Job::PRIORITIES.map(|priority| Self {
                kind: *kind,
                priority,
            })
        });
        all.collect()
    }
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

/// How long a job waits whose payload this binary does not understand: in an upgrade under way a newer node takes it meanwhile.
const UNKNOWN_WAITS: Duration = Duration::from_mins(2);

/// Takes the next job that is due out of the queues that are wanted, those with the highest priority first.
pub async fn claim(
    tx: &mut Tx,
    node: &str,
    lease: Duration,
    wanted: &[Queue],
) -> Result<Option<Claimed>> {
    let now = tx.now().await?;
    reap(tx, lease, now).await?;
    let mut wanted = wanted.to_vec();
    while let Some(queue) = first(tx, &wanted, now).await? {
        let Some(id) = lock_first(tx, queue, now).await? else {
            // Other nodes have taken all that was there.
            wanted.retain(|one| *one != queue);
            continue;
        };
        if let Some(claimed) = take(tx, id, node, lease, now).await? {
            return Ok(Some(claimed));
        }
    }
    Ok(None)
}

/// Makes available again what a node had claimed that never came back, which counts as a failed attempt; what was asked to stop has
/// stopped. A lease that ends later than any that is given now was written by a clock that was ahead, and counts as over.
async fn reap(tx: &mut Tx, lease: Duration, now: Timestamp) -> Result<()> {
    let lost = tx
        .rows(
            "UPDATE jobs SET
                 state       = CASE WHEN stop THEN 'stopped' ELSE 'ready' END,
                 ended_at    = CASE WHEN stop THEN $1 ELSE ended_at END,
                 failures    = failures + 1,
                 run_at      = $1,
                 lease_until = NULL
              WHERE state = 'running' AND (lease_until < $1 OR lease_until > $2)
             RETURNING parent_id, stop",
            &[now.into(), now.plus(lease * 2).into()],
            |row| Ok((row.opt_int(0)?, row.bool(1)?)),
        )
        .await?;
    for (parent, is_stopped) in lost {
        if let (Some(parent), true) = (parent, is_stopped) {
            executions::settle(tx, JobId(parent), now).await?;
        }
    }
    Ok(())
}

/// The queue whose first job comes first of all.
async fn first(tx: &mut Tx, wanted: &[Queue], now: Timestamp) -> Result<Option<Queue>> {
    let rows = told(wanted);
    let sql = with_rows!(
        tx,
        "SELECT j.kind, j.priority FROM (
             SELECT (SELECT o.id FROM jobs o
                      WHERE o.state = 'ready' AND o.kind = given.kind AND o.priority = given.priority AND o.run_at <= $2
                      ORDER BY o.run_at, o.id
                      LIMIT 1) AS id
               FROM",
        "value ->> 'kind' AS kind, value ->> 'priority' AS priority",
        "kind TEXT, priority BIGINT",
        "WHERE NOT EXISTS (SELECT 1 FROM paused_queues p WHERE p.name = given.kind)) AS candidates
           JOIN jobs j ON j.id = candidates.id
          ORDER BY j.priority DESC, j.run_at, j.id
          LIMIT 1"
    );
    let found = tx
        .row(sql, &[(&rows).into(), now.into()], |row| {
            Ok((row.text(0)?, row.int(1)?))
        })
        .await?;
    Ok(found.and_then(|(kind, priority)| {
        Some(Queue {
            kind: Kind::parse(&kind)?,
            priority,
        })
    }))
}

/// As a query takes them: `[{"kind":"gc","priority":100}]`.
pub(super) fn told(wanted: &[Queue]) -> String {
    let rows = wanted
        .iter()
        .map(|queue| json!({ "kind": queue.kind.as_str(), "priority": queue.priority }));
    rows.collect::<serde_json::Value>().to_string()
}

async fn lock_first(tx: &mut Tx, queue: Queue, now: Timestamp) -> Result<Option<JobId>> {
    let sql = locking!(
        tx,
        "SELECT id FROM jobs
          WHERE state = 'ready' AND kind = $1 AND priority = $2 AND run_at <= $3
          ORDER BY run_at, id
          LIMIT 1",
        "FOR UPDATE SKIP LOCKED"
    );
    tx.row(
        sql,
        &[
            queue.kind.as_str().into(),
            queue.priority.into(),
            now.into(),
        ],
        |row| Ok(JobId(row.int(0)?)),
    )
    .await
}

/// None when it is not to be run: nobody wants it any more, or nobody here understands it.
async fn take(
    tx: &mut Tx,
    id: JobId,
    node: &str,
    lease: Duration,
    now: Timestamp,
) -> Result<Option<Claimed>> {
    let row = tx
        .row(
            "UPDATE jobs SET
                 state       = 'running',
                 attempt     = attempt + 1,
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
        attempt::end(tx, id, attempt, End::Stopped, None, None).await?;
        return Ok(None);
    }
    if let Ok(job) = serde_json::from_str(&payload) {
        return Ok(Some(Claimed {
            id,
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
    Ok(None)
}

/// When the next job of these queues is due, or the next lease ends.
pub async fn next_due(conn: &mut Conn, wanted: &[Queue]) -> Result<Option<Timestamp>> {
    let rows = told(wanted);
    let sql = with_rows!(
        conn,
        "SELECT MIN(due) FROM (
             SELECT (SELECT MIN(o.run_at) FROM jobs o
                      WHERE o.state = 'ready' AND o.kind = given.kind AND o.priority = given.priority) AS due
               FROM",
        "value ->> 'kind' AS kind, value ->> 'priority' AS priority",
        "kind TEXT, priority BIGINT",
        "WHERE NOT EXISTS (SELECT 1 FROM paused_queues p WHERE p.name = given.kind)
              UNION ALL
             SELECT MIN(r.lease_until) FROM jobs r WHERE r.state = 'running') AS times"
    );
    let due = conn
        .row(sql, &[(&rows).into()], |row| row.opt_time(0))
        .await?;
    Ok(due.flatten())
}
