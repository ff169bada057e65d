//! A project's metadata, a key at a time.

use std::collections::BTreeMap;

use db::{project_metadata, projects::Project};
use model::{
    Error as Cause, What,
    metadata::{self, Metadata},
};

use super::{
    answer::Done,
    call::Call,
    error::Result,
    input::Json,
    projects::{gone, row},
};

pub(super) async fn list(call: Call) -> Result<Json<Metadata>> {
    let mut reader = call.reader().await?;
    let project = row(&call, &mut reader).await?;
    Ok(Json(project_metadata::of(&mut reader, &project).await?))
}

/// An object with this key, and without any when the project has not got it.
pub(super) async fn get(call: Call) -> Result<Json<Metadata>> {
    let mut reader = call.reader().await?;
    let project = row(&call, &mut reader).await?;
    let mut all = project_metadata::of(&mut reader, &project).await?;
    let name = call.param("meta_name");
    all.retain(|key, _| key == name);
    Ok(Json(all))
}

/// One key that the project has not got yet.
pub(super) async fn add(
    call: Call,
    Json(asked): Json<Option<BTreeMap<String, String>>>,
) -> Result<Done> {
    let mut asked = asked.unwrap_or_default().into_iter();
    let (Some((key, value)), None) = (asked.next(), asked.next()) else {
        let why = "only allow one key/value pair";
        return Err(Cause::invalid(What::Project, why).into());
    };
    set(&call, metadata::check(&key, &value)?, Some(refuse_known)).await
}

fn refuse_known(project: &Project, kept: &Metadata, key: &str) -> model::Result<()> {
    if kept.contains_key(key) {
        return Err(Cause::Conflict(format!(
            "metadata {key} already exists for project {}",
            project.id
        )));
    }
    Ok(())
}

/// The key of the path, whether the project has it already or not.
pub(super) async fn update(
    call: Call,
    Json(asked): Json<Option<BTreeMap<String, String>>>,
) -> Result<Done> {
    let key = call.param("meta_name");
    let asked = asked.unwrap_or_default();
    let value = asked.get(key).map_or("", String::as_str);
    set(&call, metadata::check(key, value)?, None).await
}

type Refusal = fn(&Project, &Metadata, &str) -> model::Result<()>;

async fn set(call: &Call, pair: (String, String), refuses: Option<Refusal>) -> Result<Done> {
    let (id, now) = (call.project(), call.now());
    call.db()
        .write(move |tx| {
            let (key, value) = pair.clone();
            Box::pin(async move {
                let project = db::projects::find(tx, id).await?.ok_or_else(gone)?;
                if let Some(refuses) = refuses {
                    let kept = project_metadata::of(tx, &project).await?;
                    refuses(&project, &kept, &key)?;
                }
                project_metadata::set(tx, &project, &Metadata::from([(key, value)]), now).await
            })
        })
        .await?;
    Ok(Done)
}

pub(super) async fn delete(call: Call) -> Result<Done> {
    let (id, now) = (call.project(), call.now());
    let name = call.param("meta_name").to_owned();
    call.db()
        .write(move |tx| {
            let name = name.clone();
            Box::pin(async move {
                let project = db::projects::find(tx, id).await?.ok_or_else(gone)?;
                project_metadata::remove(tx, &project, &name, now).await
            })
        })
        .await?;
    Ok(Done)
}
