//! Where the space went.

use model::job::Job;
use registry::space::{Part, Space};
use schemars::JsonSchema;
use serde::Serialize;

use super::{answer::Made, call::Call, error::Result, executions, input::Json};

#[derive(Serialize, JsonSchema)]
pub(super) struct SpaceReport {
    /// Used by one project alone.
    projects: SpacePart,
    /// Used by several projects; each counts it in its own quota.
    shared: SpacePart,
    /// Kept by the trash alone.
    trash: SpacePart,
    /// Uploads that are not finished.
    uploads: SpacePart,
    /// Kept by nothing: it goes with one of the next collections.
    waiting: SpacePart,
    /// No row of the database knows it.
    unknown: SpacePart,
    /// The sum.
    stored: SpacePart,
    /// When; nothing was measured yet without.
    #[serde(skip_serializing_if = "Option::is_none")]
    measured_at: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct SpacePart {
    bytes: u64,
    files: u64,
}

/// A measurement that was begun.
#[derive(Serialize, JsonSchema)]
pub(super) struct Measurement {
    /// The job: `/jobservice/jobs/{id}/log` tells of it.
    id: i64,
}

impl From<Part> for SpacePart {
    fn from(part: Part) -> Self {
        Self {
            bytes: part.bytes,
            files: part.files,
        }
    }
}

/// What the store held when it was last measured.
pub(super) async fn get(call: Call) -> Result<Json<SpaceReport>> {
    let space: Space = call.app().registry.space().await?.unwrap_or_default();
    Ok(Json(SpaceReport {
        projects: space.projects.into(),
        shared: space.shared.into(),
        trash: space.trash.into(),
        uploads: space.uploads.into(),
        waiting: space.waiting.into(),
        unknown: space.unknown.into(),
        stored: space.stored.into(),
        measured_at: space.measured_at,
    }))
}

/// Has the store measured anew; that takes as long as reading all its directories.
pub(super) async fn measure(call: Call) -> Result<Made<Measurement>> {
    let job = Job::MeasureSpace {
        requested_by: call.caller.subject.name().map(str::to_owned),
    };
    let id = executions::begin(&call, job).await?;
    Ok(Made {
        name: id.to_string(),
        body: Measurement { id: id.0 },
    })
}
