//! Scanners of projects. There are none yet: what a project chooses is kept for later.

use db::project_metadata;
use model::metadata::{Metadata, SCANNER};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{Done, Listed},
    call::Call,
    error::Result,
    input::Json,
    projects::gone,
};

#[derive(Serialize, JsonSchema)]
pub(super) struct ScannerRegistration {
    uuid: String,
    name: String,
}

/// A body of no bytes: there is none.
pub(super) async fn of_project(call: Call) -> Result<Option<Json<ScannerRegistration>>> {
    call.require_name()?;
    Ok(None)
}

pub(super) async fn candidates(call: Call) -> Result<Listed<ScannerRegistration>> {
    call.wanted()?;
    Ok(Listed::whole(Vec::new(), 0))
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ProjectScanner {
    uuid: String,
}

/// Nobody checks whether there is such a scanner, as with Harbor.
pub(super) async fn choose(call: Call, Json(asked): Json<ProjectScanner>) -> Result<Done> {
    let (id, now) = (call.project(), call.now());
    let chosen = Metadata::from([(SCANNER.to_owned(), asked.uuid.chars().take(255).collect())]);
    call.db()
        .write(move |tx| {
            let chosen = chosen.clone();
            Box::pin(async move {
                let project = db::projects::find(tx, id).await?.ok_or_else(gone)?;
                project_metadata::set(tx, &project, &chosen, now).await
            })
        })
        .await?;
    Ok(Done)
}
