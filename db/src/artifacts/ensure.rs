//! Keeping a manifest that was pushed, with all it names.

use model::{
    Error, Result,
    audit::Event,
    change::Kind,
    id::{ArtifactId, BlobId, RepositoryId, new_uid},
    time::Timestamp,
};
use serde_json::json;

use super::{NewArtifact, listed::count, relist};
use crate::{
    Tx,
    blobs::json_numbers,
    changes,
    dialect::{locking, with_numbers, with_rows},
    generations::Touch,
    links,
    repositories::Repository,
};

/// The manifest's row, and whether it was made or completed now: everything it names is kept with it. One that was put before all it names was there (by a rebuild, or
/// without its foreign layers) gets what came since.
pub async fn ensure(
    tx: &mut Tx,
    repository: &Repository,
    new: &NewArtifact,
    now: Timestamp,
) -> Result<(ArtifactId, bool)> {
    let (digest, subject) = (
        new.digest.to_string(),
        new.subject.as_ref().map(ToString::to_string),
    );
    if let Some(known) = find_known(tx, repository.id, &digest).await? {
        return keep_known(tx, repository, &known, new, now).await;
    }
    let uid = new_uid();
    let described = new.description.as_ref();
    let subject_of = new.attached.as_ref().map(|one| one.subject.to_string());
    let (accessory, accessory_of) = match (described, &new.attached) {
        (Some(known), _) => (known.accessory.as_deref(), known.accessory_of.as_deref()),
        (None, Some(attached)) => (Some(attached.kind.as_str()), subject_of.as_deref()),
        (None, None) => (
            subject.as_ref().map(|_| "subject.accessory"),
            subject.as_deref(),
        ),
    };
    // No index names it yet.
    let is_listed = accessory.is_none();
    let (id, made_by) = tx
        .row(
            "INSERT INTO artifacts (uid, repository_id, digest, blob_id, media_type, artifact_type, config_media_type, size, subject_digest, annotations, pushed_at,
                                    kind, extra_attrs, icon, accessory, accessory_of, project_id, listed)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
             ON CONFLICT (repository_id, digest) DO UPDATE SET digest = excluded.digest
             RETURNING id, uid",
            &[
                (&uid).into(),
                repository.id.into(),
                (&digest).into(),
                new.blob.into(),
                (&new.media_type).into(),
                (&new.artifact_type).into(),
                (&new.config_media_type).into(),
                (new.size as i64).into(),
                (&subject).into(),
                (&new.annotations).into(),
                now.into(),
                described.map(|known| &*known.kind).into(),
                described.and_then(|known| known.extra_attrs.as_deref()).into(),
                described.and_then(|known| known.icon.as_deref()).into(),
                accessory.into(),
                accessory_of.into(),
                repository.project.into(),
                is_listed.into(),
            ],
            |row| Ok((ArtifactId(row.int(0)?), row.text(1)?)),
        )
        .await?
        .ok_or_else(|| Error::Internal(anyhow::anyhow!("an upsert gave no row")))?;
    if made_by != uid {
        return Ok((id, false)); // another transaction made it meanwhile, with all it names
    }
    if is_listed {
        tx.pending.set_listed(id);
        count(tx, repository, 1);
    }
    name_contents(tx, repository, id, new).await?;
    tx.touch(Touch::Repository(repository.id));
    tell(tx, repository, new, &uid, subject.as_deref(), now).await?;
    Ok((id, true))
}

async fn tell(
    tx: &mut Tx,
    repository: &Repository,
    new: &NewArtifact,
    uid: &str,
    subject: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    let key = format!("{}@{}", repository.name, new.digest);
    let pushed = format!("push artifact: {key}");
    let payload = json!({ "uid": uid, "mediaType": new.media_type, "subject": subject });
    let (kind, project) = (Kind::ArtifactPushed, Some(repository.project));
    let change = changes::New {
        event: (!new.by_tag).then_some(Event::CreateArtifact),
        description: Some(&pushed),
        ..changes::New::of(kind, &key, project, &payload)
    };
    changes::append_new(tx, &change, now).await
}

/// A manifest's row as it stands.
struct Known {
    id: ArtifactId,
    blob: BlobId,
    /// How many contents and manifests it names.
    blobs: i64,
    children: i64,
    is_accessory: bool,
    is_listed: bool,
}

/// Held, so that it is not deleted before a tag or an index of this transaction names it.
async fn find_known(
    tx: &mut Tx,
    repository: RepositoryId,
    digest: &String,
) -> Result<Option<Known>> {
    let sql = locking!(
        tx,
        "SELECT id, blob_id,
                (SELECT COUNT(*) FROM artifact_blobs b WHERE b.artifact_id = artifacts.id),
                (SELECT COUNT(*) FROM artifact_children c WHERE c.parent_id = artifacts.id),
                accessory_of IS NOT NULL, listed
           FROM artifacts
          WHERE repository_id = $1 AND digest = $2",
        "FOR SHARE"
    );
    tx.row(sql, &[repository.into(), digest.into()], |row| {
        Ok(Known {
            id: ArtifactId(row.int(0)?),
            blob: BlobId(row.int(1)?),
            blobs: row.int(2)?,
            children: row.int(3)?,
            is_accessory: row.bool(4)?,
            is_listed: row.bool(5)?,
        })
    })
    .await
}

async fn keep_known(
    tx: &mut Tx,
    repository: &Repository,
    known: &Known,
    new: &NewArtifact,
    now: Timestamp,
) -> Result<(ArtifactId, bool)> {
    // What comes by its digest has no tag that would tell that it is wanted again.
    if !new.by_tag {
        tx.execute(
            "UPDATE artifacts SET pushed_at = $2 WHERE id = $1 AND pushed_at < $2",
            &[known.id.into(), now.into()],
        )
        .await?;
    }
    let names_all = known.blob == new.blob
        && known.blobs >= new.blobs.len() as i64
        && known.children >= new.children.len() as i64;
    if !names_all {
        complete(tx, repository, known.id, new).await?;
    }
    // A signature that was pushed by its digest, and gets the tag that says whose it is only now.
    if let Some(attached) = new.attached.as_ref().filter(|_| !known.is_accessory) {
        tx.execute(
            "UPDATE artifacts SET accessory = $2, accessory_of = $3 WHERE id = $1",
            &[
                known.id.into(),
                (&attached.kind).into(),
                (&attached.subject.to_string()).into(),
            ],
        )
        .await?;
        relist(tx, repository, &[known.id]).await?;
    } else if known.is_listed {
        tx.pending.set_listed(known.id);
    }
    Ok((known.id, !names_all))
}

async fn complete(
    tx: &mut Tx,
    repository: &Repository,
    id: ArtifactId,
    new: &NewArtifact,
) -> Result<()> {
    tx.execute(
        "UPDATE artifacts SET blob_id = $2, size = $3 WHERE id = $1",
        &[id.into(), new.blob.into(), (new.size as i64).into()],
    )
    .await?;
    // Its bytes have a new row when the old one was given up.
    tx.execute(
        "DELETE FROM artifact_blobs
          WHERE artifact_id = $1 AND EXISTS (SELECT 1 FROM blobs b WHERE b.id = artifact_blobs.blob_id AND b.state = 2)",
        &[id.into()],
    )
    .await?;
    tx.touch(Touch::Repository(repository.id));
    name_contents(tx, repository, id, new).await
}

async fn name_contents(
    tx: &mut Tx,
    repository: &Repository,
    id: ArtifactId,
    new: &NewArtifact,
) -> Result<()> {
    let list = json_numbers(new.blobs.iter().map(|blob| blob.0));
    let sql = with_numbers!(
        tx,
        "INSERT INTO artifact_blobs (artifact_id, blob_id, repository_id) SELECT $1, id, $3 FROM blobs WHERE id IN",
        "$2",
        "ON CONFLICT DO NOTHING"
    );
    tx.execute(sql, &[id.into(), (&list).into(), repository.id.into()])
        .await?;
    links::named(tx, repository, &new.blobs).await?;
    if new.children.is_empty() {
        return Ok(());
    }
    let children = new.children.iter();
    let children =
        children.map(|child| json!({ "id": child.id.0, "descriptor": child.descriptor }));
    let rows = children.collect::<serde_json::Value>().to_string();
    let sql = with_rows!(
        tx,
        "INSERT INTO artifact_children (parent_id, child_id, descriptor) SELECT $2, given.id, given.descriptor FROM",
        "value ->> 'id' AS id, value ->> 'descriptor' AS descriptor",
        "id BIGINT, descriptor TEXT",
        "WHERE TRUE ON CONFLICT DO NOTHING"
    );
    tx.execute(sql, &[(&rows).into(), id.into()]).await?;
    let children: Vec<ArtifactId> = new.children.iter().map(|child| child.id).collect();
    relist(tx, repository, &children).await
}
