//! Bringing back what is in the trash, as it was: the manifest with its bytes, its tags as far as nobody has given them away
//! meanwhile, its labels, and the times at which it was pushed and pulled.

use model::{
    Error, Result, What,
    change::Kind,
    id::{ArtifactId, BlobId, TrashId},
    time::Timestamp,
};
use oci::{
    digest::Digest,
    name::{RepoName, Tag},
};
use serde_json::json;

use super::{Item, Manifest, find, manifest, not_found};
use crate::{
    Tx,
    artifacts::{self, Child, NewArtifact},
    blobs::{self, Lock, State, json_numbers},
    changes,
    described::Description,
    dialect::{locking, with_numbers},
    links, projects,
    repositories::{self, Repository},
    tags::{self, Cause},
};

/// Tags that one step brings back.
const STEP: i64 = 200;

/// How far something has come back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Tags that point at it again.
    pub tags: u64,
    /// Some of the tags that somebody has given to another manifest meanwhile: those stay there.
    pub taken: Vec<String>,
    /// Whether a further step is needed.
    pub has_more: bool,
}

/// Tags whose names are told.
const NAMED: usize = 20;

/// One step; the last takes it out of the trash. Contents count for the project's quota again, which may refuse that.
pub async fn restore_some(tx: &mut Tx, id: TrashId, now: Timestamp) -> Result<Restored> {
    let sql = locking!(tx, "SELECT 1 FROM trash WHERE id = $1", "FOR UPDATE");
    tx.exists(sql, &[id.into()]).await?;
    let item = find(tx, id).await?.ok_or_else(|| not_found(id))?;
    let project = projects::find(tx, item.project).await?.ok_or_else(|| {
        Error::Precondition("its project was deleted, and with it what belonged to it".to_owned())
    })?;
    let name: RepoName = item
        .repository
        .parse()
        .map_err(model::error::internal("a name in the trash"))?;
    let repository = repositories::ensure(tx, project.id, &name, now).await?;
    let artifact = match manifest(tx, id).await? {
        Some(manifest) => bring_back(tx, &repository, &item, &manifest, now).await?,
        None => live(tx, &repository, &item).await?,
    };
    let mut restored = set_tags(tx, &repository, &item, artifact, now).await?;
    restored.has_more = tx
        .exists(
            "SELECT 1 FROM trash_tags WHERE trash_id = $1 LIMIT 1",
            &[id.into()],
        )
        .await?;
    if restored.has_more {
        return Ok(restored);
    }
    tx.execute("DELETE FROM trash WHERE id = $1", &[id.into()])
        .await?;
    let key = format!("{}@{}", item.repository, item.digest);
    let payload = json!({ "uid": item.uid });
    let (kind, project) = (Kind::ArtifactRestored, Some(item.project));
    changes::append(tx, kind, &key, project, &payload, now).await?;
    Ok(restored)
}

/// The manifest that only tags were taken from.
async fn live(tx: &mut Tx, repository: &Repository, item: &Item) -> Result<ArtifactId> {
    let found = artifacts::hold(tx, repository.id, &[item.digest]).await?;
    let (id, ..) = found.first().ok_or_else(|| {
        Error::Precondition(format!(
            "`{}` had these tags, and was deleted after them: restore it first",
            item.digest
        ))
    })?;
    Ok(*id)
}

async fn bring_back(
    tx: &mut Tx,
    repository: &Repository,
    item: &Item,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<ArtifactId> {
    let contents = hold_contents(tx, item).await?;
    for (content, _) in &contents {
        links::add(tx, repository, *content, None, now).await?;
    }
    let children = children(tx, repository, manifest).await?;
    let blob = contents.iter().find(|(_, digest)| *digest == item.digest);
    let (blob, _) = blob.ok_or_else(|| {
        Error::Internal(anyhow::anyhow!(
            "`{}` is in the trash without its own bytes",
            item.digest
        ))
    })?;
    let new = NewArtifact {
        digest: item.digest,
        blob: *blob,
        media_type: manifest.media_type.clone(),
        artifact_type: manifest.artifact_type.clone(),
        config_media_type: manifest.config_media_type.clone(),
        size: manifest.size.unsigned_abs(),
        subject: manifest.subject,
        annotations: manifest.annotations.clone(),
        blobs: contents.iter().map(|(id, _)| *id).collect(),
        children,
        by_tag: false,
        attached: None,
        description: manifest.kind.clone().map(|kind| Description {
            kind,
            extra_attrs: manifest.extra_attrs.clone(),
            icon: manifest.icon.clone(),
            accessory: manifest.accessory.clone(),
            accessory_of: manifest.accessory_of.clone(),
        }),
    };
    let (id, is_new) = artifacts::ensure(tx, repository, &new, now).await?;
    if is_new {
        tx.execute(
            "UPDATE artifacts SET pushed_at = $2, pulled_at = $3 WHERE id = $1",
            &[
                id.into(),
                manifest.pushed_at.into(),
                manifest.pulled_at.into(),
            ],
        )
        .await?;
    }
    let labels = json_numbers(manifest.labels.iter().copied());
    let sql = with_numbers!(
        tx,
        "INSERT INTO artifact_labels (artifact_id, label_id, added_at) SELECT $2, id, $3 FROM labels WHERE id IN",
        "$1",
        "ON CONFLICT DO NOTHING"
    );
    tx.execute(sql, &[(&labels).into(), id.into(), now.into()])
        .await?;
    Ok(id)
}

/// Shared with others who add references, in the order of their digests, against whoever condemns them.
async fn hold_contents(tx: &mut Tx, item: &Item) -> Result<Vec<(BlobId, Digest)>> {
    let digests = tx
        .rows(
            "SELECT b.digest FROM trash_blobs t JOIN blobs b ON b.id = t.blob_id WHERE t.trash_id = $1 ORDER BY b.digest",
            &[item.id.into()],
            |row| row.parsed::<Digest>(0),
        )
        .await?;
    blobs::hold(tx, &digests, Lock::Share).await?;
    let contents = tx
        .rows(
            "SELECT b.id, b.digest, b.state FROM trash_blobs t LEFT JOIN blobs b ON b.id = t.blob_id WHERE t.trash_id = $1 ORDER BY b.digest",
            &[item.id.into()],
            |row| {
                let state = row.opt_int(2)?.map(State::from_number).transpose()?;
                // An older version that does not know of the trash may have collected it in an upgrade under way.
                if state.is_none_or(|state| state == State::Deleting) {
                    return Ok(None);
                }
                Ok(Some((BlobId(row.int(0)?), row.parsed::<Digest>(1)?)))
            },
        )
        .await?;
    let count = contents.len();
    let there: Vec<_> = contents.into_iter().flatten().collect();
    if there.len() < count {
        return Err(Error::Precondition(format!(
            "{} of the contents of `{}` are gone: push it again",
            count - there.len(),
            item.digest
        )));
    }
    Ok(there)
}

async fn children(tx: &mut Tx, repository: &Repository, manifest: &Manifest) -> Result<Vec<Child>> {
    let digests: Vec<Digest> = manifest.children.iter().map(|child| child.digest).collect();
    if digests.is_empty() {
        return Ok(Vec::new());
    }
    let held = artifacts::hold(tx, repository.id, &digests).await?;
    let mut children = Vec::with_capacity(digests.len());
    for child in &manifest.children {
        let (id, ..) = held
            .iter()
            .find(|(_, digest, _)| *digest == child.digest)
            .ok_or_else(|| {
                Error::invalid(
                    What::Trash,
                    format!(
                        "it is an index, and `{}`, which it names, is not there: restore or push that first",
                        child.digest
                    ),
                )
            })?;
        children.push(Child {
            id: *id,
            descriptor: child.descriptor.clone(),
        });
    }
    Ok(children)
}

async fn set_tags(
    tx: &mut Tx,
    repository: &Repository,
    item: &Item,
    artifact: ArtifactId,
    now: Timestamp,
) -> Result<Restored> {
    let wanted = tx
        .rows(
            "SELECT name, pushed_at, pulled_at FROM trash_tags WHERE trash_id = $1 ORDER BY name LIMIT $2",
            &[item.id.into(), STEP.into()],
            |row| Ok((row.text(0)?, row.time(1)?, row.opt_time(2)?)),
        )
        .await?;
    let mut restored = Restored::default();
    for (name, pushed_at, pulled_at) in wanted {
        let tag: Tag = name
            .parse()
            .map_err(model::error::internal("a tag in the trash"))?;
        match tags::holder(tx, repository, &tag).await? {
            Some(holder) if holder == artifact => {}
            Some(_) if restored.taken.len() < NAMED => restored.taken.push(name.clone()),
            Some(_) => {}
            None => {
                let cause = Cause::Tagging;
                tags::set(tx, repository, &tag, artifact, &item.digest, cause, now).await?;
                tx.execute(
                    "UPDATE tags SET pushed_at = $3, pulled_at = $4 WHERE repository_id = $1 AND name = $2",
                    &[
                        repository.id.into(),
                        name.as_str().into(),
                        pushed_at.into(),
                        pulled_at.into(),
                    ],
                )
                .await?;
                restored.tags += 1;
            }
        }
        tx.execute(
            "DELETE FROM trash_tags WHERE trash_id = $1 AND name = $2",
            &[item.id.into(), name.as_str().into()],
        )
        .await?;
    }
    Ok(restored)
}
