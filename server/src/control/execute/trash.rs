//! What is in the trash, for a look, to bring it back, or to end it.

use std::collections::HashMap;

use db::{
    projects,
    query::Within,
    trash::{self, Item},
};
use model::{Result, id::TrashId, listing::Listing};

use super::House;
use crate::control::{
    answer::{Restored, TrashItem, TrashedProject},
    request::PAGE,
};

/// Tags that are shown of one thing.
const TAGS: i64 = 20;

pub(super) async fn list(house: &House, project: &str, before: i64) -> Result<Vec<TrashItem>> {
    let mut reader = house.db().reader().await?;
    let project = projects::get_name(&mut reader, project).await?;
    let selection = trash::LIST.select(&Listing::default(), trash::of_project(project.id))?;
    let rows = selection.page(&mut reader, before, PAGE).await?;
    let ids: Vec<TrashId> = rows.iter().map(|row| row.id).collect();
    let mut tags: HashMap<TrashId, Vec<String>> = HashMap::new();
    for (id, name) in trash::tags(&mut reader, &ids, TAGS).await? {
        tags.entry(id).or_default().push(name);
    }
    let shown = rows.into_iter().map(|row| {
        let tags = tags.remove(&row.id).unwrap_or_default();
        shown(row, tags)
    });
    Ok(shown.collect())
}

fn shown(row: Item, tags: Vec<String>) -> TrashItem {
    TrashItem {
        id: row.id.0,
        repository: row.repository,
        digest: row.digest.to_string(),
        tags,
        manifest: row.is_manifest,
        size: row.size,
        cause: row.cause,
        deleted_by: row.deleted_by,
        deleted_at: row.deleted_at.rfc3339(),
        expires_at: row.expires_at.rfc3339(),
    }
}

pub(super) async fn list_projects(house: &House, before: i64) -> Result<Vec<TrashedProject>> {
    let selection = trash::projects::LIST.select(&Listing::default(), Within::all())?;
    let mut reader = house.db().reader().await?;
    let rows = selection.page(&mut reader, before, PAGE).await?;
    let shown = rows.into_iter().map(|row| TrashedProject {
        id: row.id.0,
        name: row.name,
        deleted_by: row.deleted_by,
        deleted_at: row.deleted_at.rfc3339(),
        expires_at: row.expires_at.rfc3339(),
    });
    Ok(shown.collect())
}

pub(super) async fn restore(house: &House, id: i64, all: bool) -> Result<Restored> {
    let done = if all {
        house.registry.restore_all(TrashId(id)).await?
    } else {
        house.registry.restore(TrashId(id)).await?
    };
    Ok(Restored {
        manifests: done.manifests,
        tags: done.tags,
        taken: done.taken,
    })
}

pub(super) async fn delete(house: &House, id: i64) -> Result<()> {
    house
        .db()
        .write(move |tx| {
            Box::pin(async move {
                let id = TrashId(id);
                let item = trash::find(tx, id).await?;
                let item = item.ok_or_else(|| trash::not_found(id))?;
                let now = tx.now().await?;
                trash::delete(tx, &item, now).await
            })
        })
        .await
}
