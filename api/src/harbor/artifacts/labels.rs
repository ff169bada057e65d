//! Labels on an artifact: those of the system and of its project.

use db::{artifacts, labels};
use model::{
    Error as Cause, What,
    id::{ArtifactId, LabelId},
};

use super::{Details, find};
use crate::harbor::{answer::Done, call::Call, error::Result, input::Json, labels::Label};

/// Of the label only its number is looked at.
pub(crate) async fn add(call: Call, Json(asked): Json<Label>) -> Result<Done> {
    let row = find(&call).await?;
    let label = usable(&call, asked.id()).await?;
    let (project, key) = (call.project(), key(&row));
    call.db()
        .write(move |tx| {
            let (row, label, key) = (row.clone(), label.clone(), key.clone());
            Box::pin(async move {
                let held = hold(tx, &row).await?;
                let now = tx.now().await?;
                labels::add(tx, &label, held, project, &key, now).await
            })
        })
        .await?;
    Ok(Done)
}

pub(crate) async fn remove(call: Call) -> Result<Done> {
    let row = find(&call).await?;
    let label = usable(&call, LabelId(call.number("label_id")?)).await?;
    let (project, key) = (call.project(), key(&row));
    call.db()
        .write(move |tx| {
            let (row, label, key) = (row.clone(), label.clone(), key.clone());
            Box::pin(async move {
                let held = hold(tx, &row).await?;
                let now = tx.now().await?;
                labels::remove(tx, &label, held, project, &key, now).await
            })
        })
        .await?;
    Ok(Done)
}

/// A label of another project is not to be found here.
async fn usable(call: &Call, id: LabelId) -> Result<labels::Label> {
    let found = labels::find(&mut *call.reader().await?, id).await?;
    let here = |label: &labels::Label| label.project.is_none_or(|own| own == call.project());
    found
        .filter(here)
        .ok_or_else(|| labels::not_found(id).into())
}

/// The artifact, which stays until the transaction ends.
async fn hold(tx: &mut db::Tx, row: &Details) -> Result<ArtifactId, Cause> {
    let held = artifacts::hold(tx, row.repository, &[row.digest]).await?;
    let gone = || {
        Cause::not_found(
            What::Manifest,
            format!("artifact {}@{} not found", row.repository_name, row.digest),
        )
    };
    held.first().map(|(id, ..)| *id).ok_or_else(gone)
}

/// As the change log and the audit name it.
fn key(row: &Details) -> String {
    format!("{}@{}", row.repository_name, row.digest)
}
