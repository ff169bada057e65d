//! Garbage collection, as Harbor's API has it. Content goes by itself all the time; what is asked for here is done besides, and shown.

use model::{
    Error as Cause, What,
    job::{Gc, Job, Kind},
};
use serde_json::{Map, Value, json};

use super::{
    answer::{Begun, Done, Listed, Plain},
    call::Call,
    error::Result,
    executions::{ExecHistory, Group, Schedule},
    input::Json,
};

const GROUP: Group = Group {
    kind: Kind::Gc,
    name: "garbage collection",
    id: "gc_id",
    job,
    params,
};

/// Deletes at once, as many as Harbor takes.
const MOST_WORKERS: i64 = 10;

fn job(call: &Call, asked: &Map<String, Value>) -> Result<Job> {
    let flag = |name: &str| asked.get(name).and_then(Value::as_bool).unwrap_or(false);
    let workers = match asked.get("workers") {
        None | Some(Value::Null) => None,
        Some(told) => match told.as_i64() {
            Some(workers @ 1..=MOST_WORKERS) => Some(workers as u8),
            Some(workers) => {
                return Err(invalid(format!(
                    "Error: Invalid number of workers:{workers}. Workers must be greater than 0 and less than or equal to {MOST_WORKERS}."
                )));
            }
            None => return Err(invalid("workers should be integer format".to_owned())),
        },
    };
    Ok(Job::Gc(Gc {
        delete_untagged: flag("delete_untagged"),
        dry_run: flag("dry_run"),
        workers,
        requested_by: call.caller.subject.name().map(str::to_owned),
    }))
}

fn invalid(why: String) -> super::error::Error {
    Cause::invalid(What::Schedule, why).into()
}

fn params(job: &Job) -> Value {
    let Job::Gc(gc) = job else { return json!({}) };
    json!({
        "delete_untagged": gc.delete_untagged,
        // Tags have no directories here that could be left behind.
        "delete_tag": false,
        "dry_run": gc.dry_run,
        "workers": gc.workers.unwrap_or(1),
    })
}

pub(super) async fn history(call: Call) -> Result<Listed<ExecHistory>> {
    GROUP.history(call).await
}

pub(super) async fn get(call: Call) -> Result<Json<ExecHistory>> {
    GROUP.get(call).await
}

pub(super) async fn stop(call: Call) -> Result<Done> {
    GROUP.stop(call).await
}

pub(super) async fn log(call: Call) -> Result<Plain> {
    GROUP.log(call).await
}

pub(super) async fn schedule(call: Call) -> Result<Option<Json<ExecHistory>>> {
    GROUP.schedule(call).await
}

pub(super) async fn create(call: Call, Json(asked): Json<Schedule>) -> Result<Begun> {
    GROUP.set(&call, asked).await
}

pub(super) async fn update(call: Call, Json(asked): Json<Schedule>) -> Result<Done> {
    GROUP.set(&call, asked).await.map(|_| Done)
}
