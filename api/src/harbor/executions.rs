//! What Harbor calls executions: jobs that somebody or a schedule began. Collections and purges of the audit are shown, stopped and
//! scheduled in one and the same way; which parameters they have, their own files say.

use bytes::Bytes;
use db::{
    jobs::{
        self, JobRow, State,
        executions::{self, EXECUTIONS},
    },
    schedules,
};
use futures_util::stream::{self, StreamExt};
use model::{
    Error as Cause, What,
    cron::Cron,
    id::JobId,
    job::{Job, Kind, Trigger},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    answer::{Begun, Listed, Plain},
    call::Call,
    error::{Error, Result},
    input::Json,
    page::Wanted,
};
use crate::{admission::Room, body::Body};

/// What stands in the place of a run's number where none began; Terraform reads it.
const NOTHING: JobId = JobId(0);
/// Rows of a log read at a time.
const LINES: i64 = 200;

/// A state as Harbor's API names it.
pub(super) fn status(state: State) -> &'static str {
    match state {
        State::Ready => "Pending",
        State::Running | State::Waiting => "Running",
        State::Done => "Success",
        State::Failed => "Error",
        State::Stopped => "Stopped",
    }
}

/// The same as a number.
pub(super) fn status_code(state: State) -> i64 {
    match state {
        State::Ready => 0,
        State::Running | State::Waiting => 2,
        State::Done | State::Failed | State::Stopped => 3,
    }
}

/// A run of a kind of job, or when it runs by itself.
#[derive(Serialize, JsonSchema)]
pub(super) struct ExecHistory {
    id: i64,
    job_name: &'static str,
    /// Who or what began it: `MANUAL`, `SCHEDULE`; of a schedule its cron expression.
    job_kind: String,
    /// JSON in a text: what was asked for, and what came of it.
    job_parameters: String,
    schedule: ScheduleObj,
    job_status: &'static str,
    creation_time: String,
    update_time: String,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
pub(super) struct ScheduleObj {
    /// `Hourly`, `Daily`, `Weekly`, `Custom`; `Manual` begins a run at once, `None` ends the schedule.
    #[serde(rename = "type", default)]
    kind: String,
    /// Six fields, the first (seconds) 0, in UTC.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    cron: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_scheduled_time: Option<String>,
}

/// What a client asks for.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Schedule {
    schedule: Option<ScheduleObj>,
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// A kind of job whose executions have a group of routes of their own.
pub(super) struct Group {
    pub(super) kind: Kind,
    /// For people who asked for one that is not there.
    pub(super) name: &'static str,
    /// The variable of the path that is an execution's number.
    pub(super) id: &'static str,
    /// What a client's parameters mean.
    pub(super) job: fn(&Call, &Map<String, Value>) -> Result<Job>,
    /// What is shown of such a job: what was asked for.
    pub(super) params: fn(&Job) -> Value,
}

impl Group {
    pub(super) async fn history(&self, call: Call) -> Result<Listed<ExecHistory>> {
        let Wanted { listing, page } = call.wanted()?;
        let selection = EXECUTIONS.select(&listing, executions::of(self.kind, 0))?;
        let (params, vendor) = (self.params, self.kind.vendor());
        let show = move |row| shown(&row, params, vendor);
        call.listed(selection, page, None, show).await
    }

    pub(super) async fn get(&self, call: Call) -> Result<Json<ExecHistory>> {
        let row = self.find(&call).await?;
        Ok(Json(shown(&row, self.params, self.kind.vendor())))
    }

    pub(super) async fn log(&self, call: Call) -> Result<Plain> {
        let row = self.find(&call).await?;
        log(&call, row).await
    }

    pub(super) async fn stop(&self, call: Call) -> Result<super::answer::Done> {
        let row = self.find(&call).await?;
        stop(&call, row.id).await
    }

    /// When it runs by itself; nothing when it does not.
    pub(super) async fn schedule(&self, call: Call) -> Result<Option<Json<ExecHistory>>> {
        let vendor = self.kind.vendor();
        let found = schedules::find(&mut *call.reader().await?, vendor, 0).await?;
        Ok(found.map(|row| {
            Json(ExecHistory {
                id: row.id.0,
                job_name: "",
                job_kind: row.cron.clone(),
                job_parameters: row.params,
                job_status: "Scheduled",
                schedule: ScheduleObj {
                    kind: row.cron_kind,
                    cron: row.cron,
                    next_scheduled_time: Some(row.next_at.rfc3339()),
                },
                creation_time: row.created_at.rfc3339(),
                update_time: row.updated_at.rfc3339(),
            })
        }))
    }

    /// Begins a run, or says when one begins by itself, in the place of what was said before.
    pub(super) async fn set(&self, call: &Call, asked: Schedule) -> Result<Begun> {
        let wanted = asked
            .schedule
            .ok_or_else(|| Cause::invalid(What::Schedule, "schedule can't be empty"))?;
        match wanted.kind.as_str() {
            "Manual" => {
                let job = (self.job)(call, &asked.parameters)?;
                Ok(Begun(begin(call, job).await?))
            }
            "None" => {
                // Checked all the same, as with Harbor.
                (self.job)(call, &asked.parameters)?;
                let vendor = self.kind.vendor();
                let db = call.db();
                let removed = db.write(move |tx| {
                    Box::pin(async move {
                        let now = tx.now().await?;
                        schedules::remove(tx, vendor, 0, now).await
                    })
                });
                removed.await?;
                Ok(Begun(NOTHING))
            }
            "Hourly" | "Daily" | "Weekly" | "Custom" => {
                let job = (self.job)(call, &asked.parameters)?;
                let new = schedules::New {
                    cron: Cron::parse(&wanted.cron)?,
                    params: (self.params)(&job),
                    job,
                    cron_kind: wanted.kind,
                };
                let db = call.db();
                let set = db.write(move |tx| {
                    let new = new.clone();
                    Box::pin(async move {
                        let now = tx.now().await?;
                        schedules::set(tx, &new, now).await
                    })
                });
                set.await?;
                Ok(Begun(NOTHING))
            }
            // As with Harbor: what shows a schedule may be sent back.
            "Schedule" | "" => Ok(Begun(NOTHING)),
            _ => Err(Error::Unprocessable(
                "schedule.type in body should be one of [Hourly Daily Weekly Custom Manual None Schedule]"
                    .to_owned(),
            )),
        }
    }

    async fn find(&self, call: &Call) -> Result<JobRow> {
        let id = JobId(call.number(self.id)?);
        let found = executions::find(&mut *call.reader().await?, self.kind, 0, id).await?;
        found.ok_or_else(|| {
            let name = self.name;
            Cause::not_found(What::Job, format!("{name} {id} is not found")).into()
        })
    }
}

fn shown(row: &JobRow, params: fn(&Job) -> Value, vendor: &'static str) -> ExecHistory {
    let mut all = row.job().map_or_else(|| json!({}), |job| params(&job));
    if let (Some(Value::Object(counted)), Value::Object(all)) = (counted(row), &mut all) {
        all.extend(counted);
    }
    ExecHistory {
        id: row.id.0,
        job_name: vendor,
        job_kind: row.trigger.clone(),
        job_parameters: all.to_string(),
        schedule: ScheduleObj {
            kind: titled(&row.trigger),
            ..ScheduleObj::default()
        },
        job_status: status(row.state),
        creation_time: row.created_at.rfc3339(),
        update_time: row.updated_at().rfc3339(),
    }
}

/// What a job counts, or has counted.
pub(super) fn counted(row: &JobRow) -> Option<Value> {
    serde_json::from_str(row.progress.as_deref()?).ok()
}

/// `MANUAL` as `Manual`.
fn titled(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    format!("{first}{}", rest.to_ascii_lowercase())
}

/// Begins an execution at once; answers its number.
pub(super) async fn begin(call: &Call, job: Job) -> Result<JobId> {
    let id = call
        .db()
        .write(move |tx| {
            let job = job.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                let new = jobs::New::begun_by(Trigger::Manual, &job, now);
                jobs::enqueue_new(tx, &new, now).await
            })
        })
        .await?;
    Ok(id)
}

/// Asks an execution or a task to stop; one that has ended is left as it is.
pub(super) async fn stop(call: &Call, id: JobId) -> Result<super::answer::Done> {
    let db = call.db();
    while db.write(move |tx| Box::pin(jobs::stop(tx, id))).await? {}
    Ok(super::answer::Done)
}

/// A job's log, as far as it has come, read while it is sent.
pub(super) async fn log(call: &Call, row: JobRow) -> Result<Plain> {
    let room = call.app().admission.enter(Room::Download)?;
    let db = call.app().registry.db().clone();
    let id = row.id;
    let lines = stream::try_unfold(Some(0), move |after| {
        let db = db.clone();
        async move {
            let Some(after) = after else {
                return Ok(None);
            };
            let read = async {
                let mut reader = db.reader().await?;
                jobs::logs(&mut reader, id, after, LINES).await
            };
            let rows = read.await.map_err(std::io::Error::other)?;
            let last = rows.last().filter(|_| rows.len() as i64 == LINES);
            let next = last.map(|row| row.id);
            let mut text = String::new();
            for row in rows {
                let at = row.at.rfc3339();
                for line in row.text.lines() {
                    text.extend([at.as_str(), " [INFO] ", line, "\n"]);
                }
            }
            Ok::<_, std::io::Error>(Some((Bytes::from(text), next)))
        }
    });
    let end = match (row.ended_at, row.message) {
        (Some(at), Some(message)) => {
            let level = match row.state {
                State::Failed => "ERROR",
                _ => "INFO",
            };
            format!("{} [{level}] {message}\n", at.rfc3339())
        }
        _ => String::new(),
    };
    let lines = lines.chain(stream::iter([Ok(Bytes::from(end))]));
    Ok(Plain {
        media_type: "text/plain; charset=utf-8",
        body: Body::chunked(lines, room),
        file_name: None,
    })
}
