//! Queues as people look after them: how much waits in each, which are paused, and what runs.

use model::{
    Result,
    id::JobId,
    job::{Job, Kind},
    time::Timestamp,
};

use super::{JobRow, Queue, claim::told, executions, read};
use crate::{Conn, Tx, dialect::with_rows};

/// The name under which all schedules are paused.
pub const SCHEDULER: &str = "scheduler";

/// What waits of one kind, and is due.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub kind: Kind,
    pub count: i64,
    /// Since when the one has been due that has waited longest.
    pub since: Option<Timestamp>,
}

/// Up to so many are counted of each kind and priority.
const COUNTED: i64 = 100_000;

/// Of each kind, also of those of which nothing waits.
pub async fn waiting(conn: &mut Conn, now: Timestamp) -> Result<Vec<Waiting>> {
    let queues = told(&Queue::all());
    let sql = with_rows!(
        conn,
        "SELECT given.kind,
                (SELECT COUNT(*) FROM (SELECT 1 FROM jobs c WHERE c.state = 'ready' AND c.kind = given.kind AND c.priority = given.priority AND c.run_at <= $2 LIMIT $3) AS counted),
                (SELECT MIN(o.run_at) FROM jobs o WHERE o.state = 'ready' AND o.kind = given.kind AND o.priority = given.priority AND o.run_at <= $2)
           FROM",
        "value ->> 'kind' AS kind, value ->> 'priority' AS priority",
        "kind TEXT, priority BIGINT",
        "ORDER BY given.kind, given.priority"
    );
    let rows = conn
        .rows(
            sql,
            &[(&queues).into(), now.into(), COUNTED.into()],
            |row| Ok((row.text(0)?, row.int(1)?, row.opt_time(2)?)),
        )
        .await?;
    let of = |kind: Kind| {
        let own = rows.iter().filter(|(name, ..)| name == kind.as_str());
        Waiting {
            kind,
            count: own.clone().map(|(_, count, _)| count).sum(),
            since: own.filter_map(|(.., since)| *since).min(),
        }
    };
    Ok(Kind::ALL.iter().copied().map(of).collect())
}

/// The names of what is paused: kinds, or [`SCHEDULER`].
pub async fn paused(conn: &mut Conn) -> Result<Vec<String>> {
    conn.rows(
        "SELECT name FROM paused_queues ORDER BY name LIMIT 1000",
        &[],
        |row| row.text(0),
    )
    .await
}

pub async fn is_paused(conn: &mut Conn, name: &str) -> Result<bool> {
    conn.exists(
        "SELECT 1 FROM paused_queues WHERE name = $1",
        &[name.into()],
    )
    .await
}

/// From now on nothing of it begins; what runs goes on.
pub async fn pause(tx: &mut Tx, name: &str, now: Timestamp) -> Result<()> {
    tx.execute(
        "INSERT INTO paused_queues (name, paused_at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        &[name.into(), now.into()],
    )
    .await
    .map(|_| ())
}

pub async fn resume(tx: &mut Tx, name: &str) -> Result<()> {
    tx.execute("DELETE FROM paused_queues WHERE name = $1", &[name.into()])
        .await?;
    tx.wake_jobs();
    Ok(())
}

/// Stops up to `limit` jobs of a kind that wait; answers how many. Their executions end with them.
pub async fn stop_waiting(tx: &mut Tx, kind: Kind, limit: i64, now: Timestamp) -> Result<u64> {
    let mut stopped = 0;
    let mut parents = Vec::new();
    for priority in Job::PRIORITIES {
        let gone = tx
            .rows(
                "UPDATE jobs SET stop = TRUE, state = 'stopped', ended_at = $4
                  WHERE state = 'ready'
                    AND id IN (SELECT id FROM jobs WHERE state = 'ready' AND kind = $1 AND priority = $2 ORDER BY run_at, id LIMIT $3)
                 RETURNING parent_id",
                &[
                    kind.as_str().into(),
                    priority.into(),
                    limit.into(),
                    now.into(),
                ],
                |row| row.opt_int(0),
            )
            .await?;
        stopped += gone.len() as u64;
        parents.extend(gone.into_iter().flatten());
    }
    parents.sort_unstable();
    parents.dedup();
    for parent in parents {
        executions::settle(tx, JobId(parent), now).await?;
    }
    Ok(stopped)
}

/// What runs, on this node when one is named.
pub async fn running(conn: &mut Conn, node: Option<&str>) -> Result<Vec<JobRow>> {
    conn.rows(
        "SELECT id, kind, state, attempt, node, progress, message, created_at, started_at, ended_at, stop, payload, parent_id, subject_id, trigger_kind, resource
           FROM jobs WHERE state = 'running' AND node = COALESCE($1, node) ORDER BY lease_until, id LIMIT 10000",
        &[node.into()],
        read,
    )
    .await
}
