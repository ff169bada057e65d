//! Projects.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{call::Call, error::Result, input::Json};

#[derive(Serialize, JsonSchema)]
pub(super) struct Project {
    project_id: i64,
    owner_id: i64,
    name: String,
    creation_time: String,
    metadata: BTreeMap<String, String>,
}

pub(super) async fn get(call: Call) -> Result<Json<Project>> {
    let project = db::projects::get_name(&mut *call.reader().await?, &call.place().name).await?;
    let public = ("public".to_owned(), project.public.to_string());
    Ok(Json(Project {
        project_id: project.id.0,
        owner_id: project.owner.0,
        name: project.name,
        creation_time: project.created_at.rfc3339(),
        metadata: BTreeMap::from([public]),
    }))
}
