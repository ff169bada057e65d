//! Dropping old rows of the audit, at once or by a schedule.

use model::{
    Error as Cause, What,
    job::{Job, Kind, PurgeAudit},
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
    kind: Kind::PurgeAudit,
    name: "purge audit",
    id: "purge_id",
    job,
    params,
};

const KEEP: &str = "audit_retention_hour";
const EVENTS: &str = "include_event_types";
/// What older clients say in its place: `create,delete,pull`, of artifacts.
const OPERATIONS: &str = "include_operations";
/// Hours, as many as Harbor takes.
const MOST_HOURS: i64 = 240_000;
/// Bytes of a list of events.
const LONGEST: usize = 4096;

/// Harbor wants both keys, also where nothing is to be done.
fn job(_: &Call, asked: &Map<String, Value>) -> Result<Job> {
    let hours = asked
        .get(KEEP)
        .ok_or_else(|| invalid("audit_retention_hour should provide"))?;
    let hours = hours
        .as_i64()
        .ok_or_else(|| invalid("audit_retention_hour should be integer format"))?;
    if hours > MOST_HOURS {
        return Err(invalid(&format!(
            "audit_retention_hour should be less than {MOST_HOURS}"
        )));
    }
    let told = asked
        .get(EVENTS)
        .ok_or_else(|| invalid("include_event_types should provide"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (types, operations) = (text(told), asked.get(OPERATIONS).map(text));
    if types.len() + operations.as_ref().map_or(0, String::len) > LONGEST {
        return Err(invalid("include_event_types is too long"));
    }
    let split = |list: &str| {
        let names = list.split(',').map(str::trim).map(str::to_owned);
        names.filter(|name| !name.is_empty()).collect::<Vec<_>>()
    };
    let mut events = split(&types);
    if events.is_empty() {
        let operations = split(&operations.unwrap_or_default());
        let of_artifacts = operations.iter();
        events.extend(of_artifacts.map(|name| format!("{}_artifact", name.to_ascii_lowercase())));
    }
    let dry_run = asked.get("dry_run").and_then(Value::as_bool);
    Ok(Job::PurgeAudit(PurgeAudit {
        keep_hours: hours,
        events,
        dry_run: dry_run.unwrap_or(false),
    }))
}

fn invalid(why: &str) -> super::error::Error {
    Cause::invalid(What::Schedule, why).into()
}

fn params(job: &Job) -> Value {
    let Job::PurgeAudit(purge) = job else {
        return json!({});
    };
    json!({
        KEEP: purge.keep_hours,
        EVENTS: purge.events.join(","),
        "dry_run": purge.dry_run,
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
