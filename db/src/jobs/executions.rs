//! Executions and their tasks, as people and Harbor's API see them.

use model::{
    Result,
    id::JobId,
    job::{Job, Kind},
    time::Timestamp,
};

use super::{COLUMNS, JobRow, read};
use crate::{
    Conn, Tx,
    dialect::locking,
    query::{Field, Kind as Of, List, Within},
};

const FIELDS: &[Field] = &[
    Field::new(&["id", "ID"], "j.id", Of::Number)
        .indexed()
        .unique(),
    Field::new(
        &["status", "Status", "job_status"],
        "CASE j.state WHEN 'ready' THEN 'Pending' WHEN 'running' THEN 'Running' WHEN 'waiting' THEN 'Running'
                      WHEN 'done' THEN 'Success' WHEN 'failed' THEN 'Error' ELSE 'Stopped' END",
        Of::Text,
    ),
    Field::new(&["trigger", "Trigger", "job_kind"], "j.trigger_kind", Of::Text),
    Field::new(
        &["start_time", "StartTime", "creation_time", "CreationTime"],
        "j.created_at",
        Of::Time,
    ),
    Field::new(&["end_time", "EndTime"], "j.ended_at", Of::Time).nullable(),
    Field::new(
        &["update_time", "UpdateTime"],
        "COALESCE(j.ended_at, j.started_at, j.created_at)",
        Of::Time,
    ),
];

/// Executions of one kind and subject (see [`of`]), the newest first.
pub static EXECUTIONS: List<JobRow> = List {
    table: "jobs j",
    always: "j.trigger_kind <> ''",
    joins: "",
    columns: COLUMNS,
    read,
    id: "j.id",
    fields: FIELDS,
    order: &[("id", true)],
};

/// Tasks of one execution (see [`tasks_of`]), in the order in which they were made.
pub static TASKS: List<JobRow> = List {
    table: "jobs j",
    always: "j.parent_id IS NOT NULL",
    joins: "",
    columns: COLUMNS,
    read,
    id: "j.id",
    fields: FIELDS,
    order: &[("id", false)],
};

pub fn of(kind: Kind, subject: i64) -> Within {
    Within::all().and(
        "j.kind = $1 AND j.subject_id = $2",
        [kind.as_str().into(), subject.into()],
    )
}

pub fn tasks_of(execution: JobId) -> Within {
    Within::all().and("j.parent_id = $1", [execution.0.into()])
}

/// An execution of this kind and subject.
pub async fn find(conn: &mut Conn, kind: Kind, subject: i64, id: JobId) -> Result<Option<JobRow>> {
    let found = super::find(conn, id).await?;
    Ok(found.filter(|row| {
        row.kind == kind.as_str() && row.subject == subject && !row.trigger.is_empty()
    }))
}

/// An execution that is asked to do the very same and has not ended yet.
pub async fn find_under_way(conn: &mut Conn, job: &Job) -> Result<Option<JobId>> {
    let open = conn
        .rows(
            "SELECT id, payload FROM jobs WHERE kind = $1 AND subject_id = $2 AND trigger_kind <> '' AND ended_at IS NULL ORDER BY id LIMIT 100",
            &[job.kind().as_str().into(), job.subject().into()],
            |row| Ok((JobId(row.int(0)?), row.text(1)?)),
        )
        .await?;
    let same = open
        .into_iter()
        .find(|(_, payload)| serde_json::from_str::<Job>(payload).is_ok_and(|other| other == *job));
    Ok(same.map(|(id, _)| id))
}

/// What the last task that was made is about: they are made in order, so that an attempt goes on where the one before ended.
pub async fn last_resource(conn: &mut Conn, execution: JobId) -> Result<Option<String>> {
    let last = conn
        .row(
            "SELECT resource FROM jobs WHERE parent_id = $1 ORDER BY id DESC LIMIT 1",
            &[execution.into()],
            |row| row.opt_text(0),
        )
        .await?;
    Ok(last.flatten())
}

/// Ends an execution whose own part is done, once none of its tasks is left: whoever ends a task calls this in the same transaction.
/// Of two who end the last two at once the second sees, after the lock, that the first has ended; and so does whoever says at that
/// moment that the execution's own part is done. (The lock is asked for whatever the state: what another is about to change, a
/// condition would look at as it was before.)
pub(super) async fn settle(tx: &mut Tx, id: JobId, now: Timestamp) -> Result<()> {
    let sql = locking!(tx, "SELECT 1 FROM jobs WHERE id = $1", "FOR UPDATE");
    if !tx.exists(sql, &[id.into()]).await? {
        return Ok(());
    }
    tx.execute(
        "UPDATE jobs SET
             ended_at = $2,
             state    = CASE WHEN stop THEN 'stopped'
                             WHEN EXISTS (SELECT 1 FROM jobs t WHERE t.parent_id = $1 AND t.state = 'failed') THEN 'failed'
                             WHEN EXISTS (SELECT 1 FROM jobs t WHERE t.parent_id = $1 AND t.state = 'stopped') THEN 'stopped'
                             ELSE 'done' END
          WHERE id = $1 AND state = 'waiting'
            AND NOT EXISTS (SELECT 1 FROM jobs t WHERE t.parent_id = $1 AND t.state IN ('ready', 'running'))",
        &[id.into(), now.into()],
    )
    .await
    .map(|_| ())
}
