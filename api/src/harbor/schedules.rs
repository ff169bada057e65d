//! What happens by itself at times that people chose.

use db::{
    query::Within,
    schedules::{LIST, Schedule},
};
use model::{Error as Cause, What};
use schemars::JsonSchema;
use serde::Serialize;

use super::{answer::Listed, call::Call, error::Result, input::Json, jobservice, page::Wanted};

#[derive(Serialize, JsonSchema)]
pub(super) struct ScheduleTask {
    id: i64,
    /// The queue of what it begins.
    vendor_type: String,
    /// The policy that it belongs to; -1 for the system.
    vendor_id: i64,
    cron: String,
    update_time: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct SchedulerStatus {
    paused: bool,
}

impl From<Schedule> for ScheduleTask {
    fn from(row: Schedule) -> Self {
        Self {
            id: row.id.0,
            vendor_type: row.vendor,
            vendor_id: if row.subject == 0 { -1 } else { row.subject },
            cron: row.cron,
            update_time: row.updated_at.rfc3339(),
        }
    }
}

pub(super) async fn list(call: Call) -> Result<Listed<ScheduleTask>> {
    let Wanted { listing, page } = call.wanted()?;
    let selection = LIST.select(&listing, Within::all())?;
    call.listed(selection, page, None, ScheduleTask::from).await
}

pub(super) async fn paused(call: Call) -> Result<Json<SchedulerStatus>> {
    if !call.param("job_type").eq_ignore_ascii_case("all") {
        return Err(Cause::invalid(What::Schedule, "job_type can only be 'all'").into());
    }
    let paused = jobservice::is_scheduler_paused(&mut *call.reader().await?).await?;
    Ok(Json(SchedulerStatus { paused }))
}
