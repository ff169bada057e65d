//! What runs in the background: nodes, jobs, queues, and who waits.

use db::{
    Conn,
    jobs::{
        self, JobRow,
        queues::{self, SCHEDULER},
    },
    nodes,
};
use model::{
    Error as Cause, What,
    id::JobId,
    job::{Kind, VENDORS},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{Done, Plain},
    call::Call,
    error::{Error, Result},
    executions,
    input::Json,
};

/// In the place of one of them.
const ALL: &str = "all";
/// Jobs of a kind stopped in one transaction.
const BATCH: i64 = 500;

/// A node that runs jobs.
#[derive(Serialize, JsonSchema)]
pub(super) struct WorkerPool {
    pid: i64,
    worker_pool_id: String,
    start_at: String,
    heartbeat_at: String,
    /// Jobs at once.
    concurrency: i64,
    host: String,
}

/// A job that runs.
#[derive(Serialize, JsonSchema)]
pub(super) struct Worker {
    id: String,
    pool_id: String,
    job_name: String,
    job_id: String,
    start_at: Option<String>,
    /// JSON in a text: what the job counts.
    check_in: String,
    checkin_at: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct JobQueue {
    job_type: &'static str,
    /// Jobs that are due and wait.
    count: i64,
    /// Seconds that the first of them has waited.
    latency: i64,
    paused: bool,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ActionRequest {
    /// `stop` what waits, `pause`, `resume`.
    #[serde(default)]
    action: String,
}

pub(super) async fn pools(call: Call) -> Result<Json<Vec<WorkerPool>>> {
    let nodes = nodes::alive(call.app().registry.db()).await?;
    let nodes = nodes.into_iter().map(|node| WorkerPool {
        pid: node.pid,
        worker_pool_id: node.name,
        start_at: node.started_at.rfc3339(),
        heartbeat_at: node.seen_at.rfc3339(),
        concurrency: node.workers,
        host: node.host,
    });
    Ok(Json(nodes.collect()))
}

/// What runs on a node, or on all; nothing on one that is not known.
pub(super) async fn workers(call: Call) -> Result<Json<Vec<Worker>>> {
    let pool = call.param("pool_id");
    let node = (!pool.eq_ignore_ascii_case(ALL)).then_some(pool);
    let mut running = queues::running(&mut *call.reader().await?, node).await?;
    running.sort_by_key(|row| row.id);
    Ok(Json(running.into_iter().map(Worker::from).collect()))
}

impl From<JobRow> for Worker {
    fn from(row: JobRow) -> Self {
        let started = row.started_at.map(model::time::Timestamp::rfc3339);
        Self {
            id: row.id.to_string(),
            pool_id: row.node.unwrap_or_default(),
            job_name: vendor(&row.kind).to_owned(),
            job_id: row.id.to_string(),
            checkin_at: row.progress.as_ref().and(started.clone()),
            start_at: started,
            check_in: row.progress.unwrap_or_default(),
        }
    }
}

/// A kind of a newer version has no queue here.
fn vendor(kind: &str) -> &str {
    Kind::parse(kind).map_or(kind, |kind| kind.vendor())
}

/// Stops one job, or all that run. As with Harbor one that is not known, or has ended, is none to complain about.
pub(super) async fn stop(call: Call) -> Result<Done> {
    let told = call.param("job_id");
    let ids = if told.eq_ignore_ascii_case(ALL) {
        let running = queues::running(&mut *call.reader().await?, None).await?;
        // What the law asks for stays: nobody would enqueue it again.
        let stopped = running
            .into_iter()
            .filter(|row| row.kind != Kind::ForgetUser.as_str());
        stopped.map(|row| row.id).collect()
    } else {
        told.parse().map(JobId).into_iter().collect::<Vec<_>>()
    };
    for id in ids {
        executions::stop(&call, id).await?;
    }
    Ok(Done)
}

pub(super) async fn log(call: Call) -> Result<Plain> {
    let told = call.param("job_id");
    let missing = || {
        let shown: String = told.chars().take(100).collect();
        Cause::not_found(What::Job, format!("job {shown} not found"))
    };
    let id = told.parse().map(JobId).map_err(|_| missing())?;
    let found = jobs::find(&mut *call.reader().await?, id).await?;
    executions::log(&call, found.ok_or_else(missing)?).await
}

pub(super) async fn queues(call: Call) -> Result<Json<Vec<JobQueue>>> {
    let mut reader = call.reader().await?;
    let now = reader.now(call.app().registry.db().clock()).await?;
    let waiting = queues::waiting(&mut reader, now).await?;
    let paused = queues::paused(&mut reader).await?;
    let queue = |vendor: &'static str| {
        let own = waiting.iter().filter(|one| one.kind.vendor() == vendor);
        let since = own.clone().filter_map(|one| one.since).min();
        JobQueue {
            job_type: vendor,
            count: own.map(|one| one.count).sum(),
            latency: since.map_or(0, |since| now.since(since).as_secs() as i64),
            paused: Kind::of_vendor(vendor)
                .any(|kind| paused.iter().any(|one| one == kind.as_str())),
        }
    };
    Ok(Json(VENDORS.iter().copied().map(queue).collect()))
}

/// Of a queue that is not known nothing happens, as with Harbor.
pub(super) async fn act(call: Call, Json(asked): Json<ActionRequest>) -> Result<Done> {
    let told = call.param("job_type").to_ascii_uppercase();
    let is_all = told.eq_ignore_ascii_case(ALL);
    let kinds: Vec<Kind> = if is_all {
        Kind::ALL.to_vec()
    } else {
        Kind::of_vendor(&told).collect()
    };
    match asked.action.as_str() {
        "stop" => stop_waiting(&call, kinds).await?,
        "pause" | "resume" => {
            let is_pause = asked.action == "pause";
            let mut names: Vec<&'static str> = kinds.iter().map(|kind| kind.as_str()).collect();
            if is_all || told.eq_ignore_ascii_case(SCHEDULER) {
                names.push(SCHEDULER);
            }
            pause(&call, names, is_pause).await?;
        }
        _ => {
            return Err(Error::Unprocessable(
                "action in body should be one of [stop pause resume]".to_owned(),
            ));
        }
    }
    Ok(Done)
}

async fn stop_waiting(call: &Call, kinds: Vec<Kind>) -> Result<()> {
    // What the law asks for is not thrown away: nobody would enqueue it again.
    for kind in kinds.into_iter().filter(|kind| *kind != Kind::ForgetUser) {
        loop {
            let db = call.db();
            let stopped = db.write(move |tx| {
                Box::pin(async move {
                    let now = tx.now().await?;
                    queues::stop_waiting(tx, kind, BATCH, now).await
                })
            });
            if stopped.await? == 0 {
                break;
            }
        }
    }
    Ok(())
}

async fn pause(call: &Call, names: Vec<&'static str>, is_pause: bool) -> Result<()> {
    call.db()
        .write(move |tx| {
            let names = names.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                for name in names {
                    if is_pause {
                        queues::pause(tx, name, now).await?;
                    } else {
                        queues::resume(tx, name).await?;
                    }
                }
                Ok(())
            })
        })
        .await?;
    Ok(())
}

/// Whether all schedules are paused.
pub(super) async fn is_scheduler_paused(conn: &mut Conn) -> Result<bool> {
    Ok(queues::is_paused(conn, SCHEDULER).await?)
}
