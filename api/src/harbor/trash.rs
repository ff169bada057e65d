//! What was deleted from a project and may come back.

use std::collections::HashMap;

use db::{
    query::Within,
    trash::{self, Item, LIST},
};
use model::{
    id::{ProjectId, TrashId},
    permission::{Action, Resource},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{Done, Listed},
    call::Call,
    error::Result,
    input::{Json, Query, flag},
    page::Wanted,
};

/// Tags that are shown of one thing.
const TAGS: i64 = 100;

#[derive(Serialize, JsonSchema)]
pub(super) struct TrashItem {
    id: i64,
    /// The same for all that was deleted at once.
    act: String,
    /// With its project's name.
    repository: String,
    digest: String,
    /// The tags that it had, the first hundred.
    tags: Vec<String>,
    /// False when only tags were taken, and the manifest stayed.
    manifest: bool,
    /// Bytes of the manifest and all it names.
    size: i64,
    /// `delete`, `retention` or `untagged`.
    cause: String,
    deleted_by: String,
    deleted_at: String,
    /// When it is gone for good.
    expires_at: String,
}

/// What came back.
#[derive(Serialize, JsonSchema)]
pub(super) struct Restoration {
    manifests: u64,
    tags: u64,
    /// Some of the tags that another manifest has by now; they stay there.
    taken: Vec<String>,
}

pub(super) async fn list(call: Call) -> Result<Listed<TrashItem>> {
    let Wanted { listing, page } = call.wanted()?;
    let selection = LIST.select(&listing, trash::of_project(call.project()))?;
    call.listed_by(selection, page, None, |conn, rows| {
        Box::pin(async move {
            let ids: Vec<TrashId> = rows.iter().map(|row: &Item| row.id).collect();
            let mut tags: HashMap<TrashId, Vec<String>> = HashMap::new();
            for (id, name) in trash::tags(conn, &ids, TAGS).await? {
                tags.entry(id).or_default().push(name);
            }
            let shown = rows.into_iter().map(|row| TrashItem {
                tags: tags.remove(&row.id).unwrap_or_default(),
                id: row.id.0,
                act: row.act,
                repository: row.repository,
                digest: row.digest.to_string(),
                manifest: row.is_manifest,
                size: row.size,
                cause: row.cause,
                deleted_by: row.deleted_by,
                deleted_at: row.deleted_at.rfc3339(),
                expires_at: row.expires_at.rfc3339(),
            });
            Ok(shown.collect())
        })
    })
    .await
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct RestoreHow {
    /// Everything that was deleted from its repository at once.
    #[serde(default, deserialize_with = "flag")]
    all: Option<bool>,
}

/// Brings it back, with what was deleted with it and belongs to it.
pub(super) async fn restore(
    call: Call,
    Query(how): Query<RestoreHow>,
) -> Result<Json<Restoration>> {
    call.require(Resource::Artifact, Action::Create)?;
    let item = find(&call).await?;
    let done = if how.all.unwrap_or_default() {
        call.registry().restore_all(item.id).await?
    } else {
        call.registry().restore(item.id).await?
    };
    Ok(Json(Restoration {
        manifests: done.manifests,
        tags: done.tags,
        taken: done.taken,
    }))
}

/// Ends it for good.
pub(super) async fn delete(call: Call) -> Result<Done> {
    let item = find(&call).await?;
    call.db()
        .write(move |tx| {
            let item = item.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                trash::delete(tx, &item, now).await
            })
        })
        .await?;
    Ok(Done)
}

/// Of the project that the path names.
async fn find(call: &Call) -> Result<Item> {
    let id = TrashId(call.number("trash_id")?);
    let found = trash::find(&mut *call.reader().await?, id).await?;
    let own = found.filter(|item| item.project == call.project());
    own.ok_or_else(|| trash::not_found(id).into())
}

#[derive(Serialize, JsonSchema)]
pub(super) struct TrashedProject {
    id: i64,
    name: String,
    deleted_by: String,
    deleted_at: String,
    /// When it is gone for good.
    expires_at: String,
}

pub(super) async fn list_projects(call: Call) -> Result<Listed<TrashedProject>> {
    let Wanted { listing, page } = call.wanted()?;
    let selection = trash::projects::LIST.select(&listing, Within::all())?;
    call.listed(selection, page, None, |row| TrashedProject {
        id: row.id.0,
        name: row.name,
        deleted_by: row.deleted_by,
        deleted_at: row.deleted_at.rfc3339(),
        expires_at: row.expires_at.rfc3339(),
    })
    .await
}

/// Its repositories come back one by one, from the trash that it has again.
pub(super) async fn restore_project(call: Call) -> Result<Done> {
    let id = ProjectId(call.number("project_id")?);
    Ok(call.registry().restore_project(id).await.map(|()| Done)?)
}

pub(super) async fn delete_project(call: Call) -> Result<Done> {
    let id = ProjectId(call.number("project_id")?);
    let now = call.now();
    call.db()
        .write(move |tx| Box::pin(async move { trash::projects::delete(tx, id, now).await }))
        .await?;
    Ok(Done)
}
