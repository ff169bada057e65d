//! Manifests of repositories (Harbor calls them artifacts) and what they name.

pub mod details;

use model::{
    Error, Result, What,
    audit::Event,
    change::Kind,
    id::{ArtifactId, BlobId, RepositoryId, new_uid},
    time::Timestamp,
};
use oci::digest::Digest;
use serde_json::json;

use crate::{
    Conn, Tx,
    blobs::{State, json_list, json_numbers},
    changes,
    described::Description,
    dialect::{locking, with_list, with_numbers},
    generations::Touch,
    links,
    repositories::Repository,
    tags,
    value::Row,
};

/// A manifest as a pull needs it.
#[derive(Debug, Clone)]
pub struct Artifact {
    pub id: ArtifactId,
    pub digest: Digest,
    pub media_type: String,
    /// Bytes of the manifest itself.
    pub size: u64,
    pub location: String,
    pub state: State,
}

#[derive(Debug, Clone)]
pub struct NewArtifact {
    pub digest: Digest,
    pub blob: BlobId,
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub config_media_type: Option<String>,
    /// Bytes of the manifest, its config and its layers together.
    pub size: u64,
    pub subject: Option<Digest>,
    /// JSON object of text values; none when the manifest has none.
    pub annotations: Option<String>,
    /// The manifest's own bytes, config and layers that the repository holds.
    pub blobs: Vec<BlobId>,
    pub children: Vec<ArtifactId>,
    /// Pushed under a tag, which tells the audit of it.
    pub by_tag: bool,
    /// None: it is found out later.
    pub description: Option<Description>,
}

fn read(row: &Row<'_>) -> Result<Artifact> {
    Ok(Artifact {
        id: ArtifactId(row.int(0)?),
        digest: row.parsed(1)?,
        media_type: row.text(2)?,
        size: row.int(3)?.unsigned_abs(),
        location: row.text(4)?,
        state: State::from_number(row.int(5)?)?,
    })
}

pub async fn find(
    conn: &mut Conn,
    repository: RepositoryId,
    digest: &Digest,
) -> Result<Option<Artifact>> {
    let digest = digest.to_string();
    conn.row(
        "SELECT a.id, a.digest, a.media_type, b.size, b.location, b.state
           FROM artifacts a
           JOIN blobs b ON b.id = a.blob_id
          WHERE a.repository_id = $1 AND a.digest = $2",
        &[repository.into(), (&digest).into()],
        read,
    )
    .await
}

pub async fn find_tagged(
    conn: &mut Conn,
    repository: RepositoryId,
    tag: &str,
) -> Result<Option<Artifact>> {
    conn.row(
        "SELECT a.id, a.digest, a.media_type, b.size, b.location, b.state
           FROM tags t
           JOIN artifacts a ON a.id = t.artifact_id
           JOIN blobs b ON b.id = a.blob_id
          WHERE t.repository_id = $1 AND t.name = $2",
        &[repository.into(), tag.into()],
        read,
    )
    .await
}

/// Those of `digests` that are manifests of the repository, with their sizes as an index sums them; none of them is deleted
/// before the transaction ends.
pub async fn hold(
    tx: &mut Tx,
    repository: RepositoryId,
    digests: &[Digest],
) -> Result<Vec<(ArtifactId, Digest, u64)>> {
    let list = json_list(digests);
    let sql = with_list!(
        tx,
        "SELECT id, digest, size FROM artifacts WHERE repository_id = $1 AND digest IN",
        "$2",
        "ORDER BY digest",
        "FOR SHARE"
    );
    tx.rows(sql, &[repository.into(), (&list).into()], |row| {
        Ok((
            ArtifactId(row.int(0)?),
            row.parsed(1)?,
            row.int(2)?.unsigned_abs(),
        ))
    })
    .await
}

/// The manifest's row, and whether it was made or completed now: everything it names is kept with it. One that was put
/// before all it names was there (by a rebuild, or without its foreign layers) gets what came since.
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
        let names_all = known.blob == new.blob
            && known.blobs >= new.blobs.len() as i64
            && known.children >= new.children.len() as i64;
        if !names_all {
            complete(tx, repository, known.id, new).await?;
        }
        return Ok((known.id, !names_all));
    }
    let uid = new_uid();
    let described = new.description.as_ref();
    let (accessory, accessory_of) = match described {
        Some(known) => (known.accessory.as_deref(), known.accessory_of.as_deref()),
        None => (
            subject.as_ref().map(|_| "subject.accessory"),
            subject.as_deref(),
        ),
    };
    let (id, made_by) = tx
        .row(
            "INSERT INTO artifacts (uid, repository_id, digest, blob_id, media_type, artifact_type, config_media_type, size, subject_digest, annotations, pushed_at,
                                    kind, extra_attrs, icon, accessory, accessory_of, project_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
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
            ],
            |row| Ok((ArtifactId(row.int(0)?), row.text(1)?)),
        )
        .await?
        .ok_or_else(|| Error::Internal(anyhow::anyhow!("an upsert gave no row")))?;
    if made_by != uid {
        return Ok((id, false)); // another transaction made it meanwhile, with all it names
    }
    name_contents(tx, repository, id, new).await?;
    tx.touch(Touch::Repository(repository.id));
    let key = format!("{}@{digest}", repository.name);
    let pushed = format!("push artifact: {key}");
    let payload = json!({ "uid": uid, "mediaType": new.media_type, "subject": subject });
    let change = changes::New::of(
        Kind::ArtifactPushed,
        &key,
        Some(repository.project),
        &payload,
    );
    let change = changes::New {
        event: (!new.by_tag).then_some(Event::CreateArtifact),
        description: Some(&pushed),
        ..change
    };
    changes::append_new(tx, &change, now).await?;
    Ok((id, true))
}

/// A manifest's row as it stands.
struct Known {
    id: ArtifactId,
    blob: BlobId,
    /// How many contents and manifests it names.
    blobs: i64,
    children: i64,
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
                (SELECT COUNT(*) FROM artifact_children c WHERE c.parent_id = artifacts.id)
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
        })
    })
    .await
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
    let list = json_numbers(new.children.iter().map(|child| child.0));
    let sql = with_numbers!(
        tx,
        "INSERT INTO artifact_children (parent_id, child_id) SELECT $1, id FROM artifacts WHERE id IN",
        "$2",
        "ON CONFLICT DO NOTHING"
    );
    tx.execute(sql, &[id.into(), (&list).into()])
        .await
        .map(|_| ())
}

/// An index of the repository that names this manifest, when there is one.
pub async fn find_parent(conn: &mut Conn, child: ArtifactId) -> Result<Option<Digest>> {
    conn.row(
        "SELECT a.digest FROM artifact_children c JOIN artifacts a ON a.id = c.parent_id WHERE c.child_id = $1 ORDER BY c.parent_id LIMIT 1",
        &[child.into()],
        |row| row.parsed(0),
    )
    .await
}

/// Tags that go with their manifest in one transaction.
const TAGS: i64 = 1000;

/// Deletes a manifest with its tags, unless an index of the repository names it. What it named is asked about at `check_at`.
/// False when it has more tags than go in one transaction: some went, call again.
pub async fn delete(
    tx: &mut Tx,
    repository: &Repository,
    artifact: &Artifact,
    check_at: Timestamp,
    now: Timestamp,
) -> Result<bool> {
    // Whoever tags it or names it in an index holds it FOR SHARE: that is over now, or waits until this has happened.
    let sql = locking!(tx, "SELECT 1 FROM artifacts WHERE id = $1", "FOR UPDATE");
    let key = format!("{}@{}", repository.name, artifact.digest);
    if !tx.exists(sql, &[artifact.id.into()]).await? {
        return Err(Error::not_found(
            What::Manifest,
            format!("artifact {key} not found"),
        ));
    }
    if let Some(parent) = find_parent(tx, artifact.id).await? {
        return Err(Error::Precondition(format!(
            "`{}` is part of the index `{parent}` in this repository: delete the index first",
            artifact.digest
        )));
    }
    tags::check_deletable(tx, repository, artifact.id).await?;
    if tags::delete_of(tx, repository, artifact, TAGS, now).await? == TAGS {
        return Ok(false);
    }
    links::release(tx, repository, artifact.id, check_at, now).await?;
    tx.execute("DELETE FROM artifacts WHERE id = $1", &[artifact.id.into()])
        .await?;
    tx.touch(Touch::Repository(repository.id));
    let (kind, project) = (Kind::ArtifactDeleted, Some(repository.project));
    changes::append(tx, kind, &key, project, &json!({}), now).await?;
    Ok(true)
}

/// A manifest that refers to another, as the referrers list describes it.
#[derive(Debug, Clone)]
pub struct Referrer {
    pub id: ArtifactId,
    pub digest: Digest,
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub size: u64,
    pub annotations: Option<String>,
}

/// Manifests whose subject is `subject`, in the order they came, after `after`; of one artifact type when it is given.
pub async fn referrers(
    conn: &mut Conn,
    repository: RepositoryId,
    subject: &Digest,
    artifact_type: Option<&str>,
    after: ArtifactId,
    limit: i64,
) -> Result<Vec<Referrer>> {
    let (subject, read) = (subject.to_string(), |row: &Row<'_>| {
        Ok(Referrer {
            id: ArtifactId(row.int(0)?),
            digest: row.parsed(1)?,
            media_type: row.text(2)?,
            artifact_type: row.opt_text(3)?,
            size: row.int(4)?.unsigned_abs(),
            annotations: row.opt_text(5)?,
        })
    });
    let (repository, after, limit) = (repository.into(), after.into(), limit.into());
    let Some(artifact_type) = artifact_type else {
        return conn
            .rows(
                "SELECT a.id, a.digest, a.media_type, a.artifact_type, b.size, a.annotations
                   FROM artifacts a
                   JOIN blobs b ON b.id = a.blob_id
                  WHERE a.repository_id = $1 AND a.subject_digest = $2 AND a.id > $3
                  ORDER BY a.id
                  LIMIT $4",
                &[repository, (&subject).into(), after, limit],
                read,
            )
            .await;
    };
    conn.rows(
        "SELECT a.id, a.digest, a.media_type, a.artifact_type, b.size, a.annotations
           FROM artifacts a
           JOIN blobs b ON b.id = a.blob_id
          WHERE a.repository_id = $1 AND a.subject_digest = $2 AND a.artifact_type = $5 AND a.id > $3
          ORDER BY a.id
          LIMIT $4",
        &[
            repository,
            (&subject).into(),
            after,
            limit,
            artifact_type.into(),
        ],
        read,
    )
    .await
}
