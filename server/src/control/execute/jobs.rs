//! The queue of jobs, as the operator sees it; and a job that he waits for.

use std::time::Duration;

use db::{
    jobs::{self, JobRow, State},
    nodes,
};
use model::{
    Error, Result,
    error::internal,
    id::JobId,
    job::{Job, Trigger},
    time::Timestamp,
};
use serde_json::Value;

use super::{House, Work};
use crate::control::{answer, request::PAGE};

/// How often a job that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn list(house: &House, limit: i64) -> Result<Vec<answer::Job>> {
    let mut reader = house.db().reader().await?;
    let rows = jobs::list(&mut reader, jobs::NEWEST, limit.clamp(1, PAGE)).await?;
    Ok(rows.into_iter().map(shown).collect())
}

/// What it told after a row of its log.
pub(super) async fn log(house: &House, id: i64, after: i64) -> Result<answer::JobLog> {
    let mut reader = house.db().reader().await?;
    let job = jobs::get(&mut reader, JobId(id)).await?;
    let rows = jobs::logs(&mut reader, JobId(id), after, jobs::MAX_LOG_LINES).await?;
    let lines = rows.iter().flat_map(|row| {
        row.text.lines().map(|text| answer::LogLine {
            id: row.id,
            at: row.at.rfc3339(),
            text: text.to_owned(),
        })
    });
    Ok(answer::JobLog {
        job: shown(job),
        lines: lines.collect(),
    })
}

pub(super) async fn stop(house: &House, id: i64) -> Result<answer::Job> {
    let id = JobId(id);
    let row = jobs::get(&mut *house.db().reader().await?, id).await?;
    if row.ended_at.is_some() {
        return Err(Error::Precondition(format!(
            "job {id} has ended already ({})",
            row.state.as_str()
        )));
    }
    stop_all(house, id).await?;
    let row = jobs::get(&mut *house.db().reader().await?, id).await?;
    Ok(shown(row))
}

async fn stop_all(house: &House, id: JobId) -> Result<()> {
    while house
        .db()
        .write(move |tx| Box::pin(jobs::stop(tx, id)))
        .await?
    {}
    Ok(())
}

fn shown(row: JobRow) -> answer::Job {
    answer::Job {
        id: row.id.0,
        kind: row.kind,
        state: row.state.as_str().to_owned(),
        attempt: row.attempt,
        node: row.node,
        progress: row
            .progress
            .and_then(|progress| serde_json::from_str(&progress).ok()),
        message: row.message,
        created_at: row.created_at.rfc3339(),
        started_at: row.started_at.map(Timestamp::rfc3339),
        ended_at: row.ended_at.map(Timestamp::rfc3339),
        stopping: row.stop,
    }
}

/// A job that is done.
pub(super) struct Done {
    pub id: JobId,
    /// What it counted.
    pub counted: Value,
}

/// Has a job done now and waits for it; when the work is cancelled the job is stopped. A job of the kind that ran already
/// may have passed what this one is to see, so its end is waited for first.
pub(super) async fn run(
    house: &House,
    work: &Work,
    job: &Job,
    show: impl Fn(&Value),
) -> Result<Done> {
    somebody_works(house).await?;
    loop {
        let (id, is_new) = enqueue(house, job.clone()).await?;
        let row = follow(house, work, id, is_new, &show).await?;
        if is_new {
            return ended(row);
        }
    }
}

/// Nobody waits for a job that no node begins.
async fn somebody_works(house: &House) -> Result<()> {
    let nodes = nodes::alive(house.db()).await?;
    if !nodes.is_empty() && nodes.iter().all(|node| node.drained_at.is_some()) {
        return Err(Error::Precondition(
            "all nodes are drained and begin no jobs: `seawall node resume NAME` lets one work again".to_owned(),
        ));
    }
    Ok(())
}

async fn enqueue(house: &House, job: Job) -> Result<(JobId, bool)> {
    house
        .db()
        .write(move |tx| {
            let job = job.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                let mut new = jobs::New::of(&job, now);
                // What Harbor's API shows as an execution is shown there too when a command began it.
                if let Job::Gc(_) | Job::PurgeAudit(_) | Job::Retention { .. } = job {
                    new.trigger = Some(Trigger::Manual);
                }
                let id = jobs::enqueue_new(tx, &new, now).await?;
                let row = jobs::get(tx, id).await?;
                Ok((id, row.state == State::Ready))
            })
        })
        .await
}

/// Waits until a job has ended.
async fn follow(
    house: &House,
    work: &Work,
    id: JobId,
    is_ours: bool,
    show: &impl Fn(&Value),
) -> Result<JobRow> {
    loop {
        let row = jobs::get(&mut *house.db().reader().await?, id).await?;
        if row.ended_at.is_some() {
            return Ok(row);
        }
        if let Some(counted) = counted(&row) {
            show(&counted);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = work.cancel.cancelled() => {
                if is_ours {
                    stop_all(house, id).await?;
                }
                return Err(Error::Precondition(format!("nobody waits for job {id} any more")));
            }
        }
    }
}

fn counted(row: &JobRow) -> Option<Value> {
    serde_json::from_str(row.progress.as_deref()?).ok()
}

fn ended(row: JobRow) -> Result<Done> {
    let id = row.id;
    if row.state != State::Done {
        let why = row.message.unwrap_or_else(|| "it was stopped".to_owned());
        return Err(Error::Precondition(format!(
            "job {id} ended as {}: {why} (`seawall job log {id}` has more)",
            row.state.as_str()
        )));
    }
    let text = row.progress.as_deref().unwrap_or("{}");
    let counted = serde_json::from_str(text).map_err(internal("reading what a job counted"))?;
    Ok(Done { id, counted })
}
