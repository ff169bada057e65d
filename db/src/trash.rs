//! What was deleted and may come back for a while: manifests with their tags, labels and accessories. It is in no list and in no
//! quota; its contents are left alone by the collector.

pub mod projects;
mod restore;

use std::time::Duration;

use model::{
    Error, Result, What,
    change::Kind,
    id::{ArtifactId, BlobId, ProjectId, TrashId, new_uid},
    time::Timestamp,
};
use oci::digest::Digest;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Conn, Tx,
    blobs::{self, json_list, json_numbers},
    changes,
    dialect::{locking, with_list, with_numbers},
    query::{Field, Kind as Of, List, Within},
    repositories::Repository,
    value::Row,
};

pub use restore::{Restored, restore_some};

/// Why something was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked for it.
    Delete,
    Retention,
    /// A collection that takes what has no tag.
    Untagged,
}

impl Cause {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Retention => "retention",
            Self::Untagged => "untagged",
        }
    }
}

/// Where what one act deletes goes.
#[derive(Debug, Clone)]
pub struct Bin {
    /// The same for all that goes at once.
    act: String,
    cause: Cause,
    expires_at: Timestamp,
}

impl Bin {
    /// For an act that begins now; none where nothing is kept.
    pub fn begin(cause: Cause, keep: Duration, now: Timestamp) -> Option<Self> {
        (!keep.is_zero()).then(|| Self {
            act: new_uid(),
            cause,
            expires_at: now.plus(keep),
        })
    }
}

/// What an artifact's row said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    media_type: String,
    artifact_type: Option<String>,
    config_media_type: Option<String>,
    size: i64,
    subject: Option<Digest>,
    annotations: Option<String>,
    pushed_at: Timestamp,
    pulled_at: Option<Timestamp>,
    kind: Option<String>,
    extra_attrs: Option<String>,
    icon: Option<String>,
    accessory: Option<String>,
    accessory_of: Option<String>,
    children: Vec<Child>,
    labels: Vec<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Child {
    digest: Digest,
    descriptor: Option<String>,
}

/// The row of what a manifest leaves in the trash, made when it is not there.
async fn ensure(
    tx: &mut Tx,
    bin: &Bin,
    repository: &Repository,
    digest: &Digest,
    now: Timestamp,
) -> Result<TrashId> {
    let (uid, digest, actor) = (new_uid(), digest.to_string(), tx.actor());
    tx.row(
        "INSERT INTO trash (uid, act, project_id, repository, digest, size, cause, deleted_by, deleted_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8, $9)
         ON CONFLICT (act, repository, digest) DO UPDATE SET digest = excluded.digest
         RETURNING id",
        &[
            (&uid).into(),
            (&bin.act).into(),
            repository.project.into(),
            (&repository.name).into(),
            (&digest).into(),
            bin.cause.as_str().into(),
            actor.name.as_str().into(),
            now.into(),
            bin.expires_at.into(),
        ],
        |row| Ok(TrashId(row.int(0)?)),
    )
    .await?
    .ok_or_else(|| Error::Internal(anyhow::anyhow!("an upsert gave no row")))
}

/// Before tags of a manifest go, which come by their numbers.
pub(crate) async fn keep_tags(
    tx: &mut Tx,
    bin: &Bin,
    repository: &Repository,
    digest: &Digest,
    tags: &String,
    now: Timestamp,
) -> Result<()> {
    let id = ensure(tx, bin, repository, digest, now).await?;
    let sql = with_numbers!(
        tx,
        "INSERT INTO trash_tags (trash_id, name, pushed_at, pulled_at)
         SELECT $2, name, pushed_at, pulled_at FROM tags WHERE id IN",
        "$1",
        "ON CONFLICT DO NOTHING"
    );
    tx.execute(sql, &[tags.into(), id.into()]).await.map(|_| ())
}

/// Before a manifest's row goes. Its contents stay as long as it is in the trash: they are still held now.
pub(crate) async fn keep_manifest(
    tx: &mut Tx,
    bin: &Bin,
    repository: &Repository,
    artifact: ArtifactId,
    digest: &Digest,
    now: Timestamp,
) -> Result<()> {
    let Some(mut manifest) = read_manifest(tx, artifact).await? else {
        return Ok(());
    };
    manifest.children = tx
        .rows(
            "SELECT a.digest, c.descriptor
               FROM artifact_children c
               JOIN artifacts a ON a.id = c.child_id
              WHERE c.parent_id = $1
              ORDER BY a.digest",
            &[artifact.into()],
            |row| {
                Ok(Child {
                    digest: row.parsed(0)?,
                    descriptor: row.opt_text(1)?,
                })
            },
        )
        .await?;
    manifest.labels = tx
        .rows(
            "SELECT label_id FROM artifact_labels WHERE artifact_id = $1 ORDER BY label_id",
            &[artifact.into()],
            |row| row.int(0),
        )
        .await?;
    let text = serde_json::to_string(&manifest)
        .map_err(model::error::internal("writing what goes into the trash"))?;
    let id = ensure(tx, bin, repository, digest, now).await?;
    tx.execute(
        "UPDATE trash SET artifact = $2, size = $3, accessory_of = $4 WHERE id = $1",
        &[
            id.into(),
            (&text).into(),
            manifest.size.into(),
            (&manifest.accessory_of).into(),
        ],
    )
    .await?;
    tx.execute(
        "INSERT INTO trash_blobs (trash_id, blob_id)
         SELECT $1, blob_id FROM artifact_blobs WHERE artifact_id = $2
         ON CONFLICT DO NOTHING",
        &[id.into(), artifact.into()],
    )
    .await
    .map(|_| ())
}

async fn read_manifest(tx: &mut Tx, artifact: ArtifactId) -> Result<Option<Manifest>> {
    tx.row(
        "SELECT media_type, artifact_type, config_media_type, size, subject_digest, annotations, pushed_at, pulled_at,
                kind, extra_attrs, icon, accessory, accessory_of
           FROM artifacts WHERE id = $1",
        &[artifact.into()],
        |row| {
            let subject = row.opt_text(4)?;
            Ok(Manifest {
                media_type: row.text(0)?,
                artifact_type: row.opt_text(1)?,
                config_media_type: row.opt_text(2)?,
                size: row.int(3)?,
                subject: subject.and_then(|digest| digest.parse().ok()),
                annotations: row.opt_text(5)?,
                pushed_at: row.time(6)?,
                pulled_at: row.opt_time(7)?,
                kind: row.opt_text(8)?,
                extra_attrs: row.opt_text(9)?,
                icon: row.opt_text(10)?,
                accessory: row.opt_text(11)?,
                accessory_of: row.opt_text(12)?,
                children: Vec::new(),
                labels: Vec::new(),
            })
        },
    )
    .await
}

/// Something in the trash.
#[derive(Debug, Clone)]
pub struct Item {
    pub id: TrashId,
    pub uid: String,
    pub act: String,
    pub project: ProjectId,
    /// With its project's name.
    pub repository: String,
    pub digest: Digest,
    /// False when only tags were taken, and the manifest stayed.
    pub is_manifest: bool,
    /// Bytes of the manifest and all it names.
    pub size: i64,
    pub cause: String,
    pub deleted_by: String,
    pub deleted_at: Timestamp,
    pub expires_at: Timestamp,
}

fn read(row: &Row<'_>) -> Result<Item> {
    Ok(Item {
        id: TrashId(row.int(0)?),
        uid: row.text(1)?,
        act: row.text(2)?,
        project: ProjectId(row.int(3)?),
        repository: row.text(4)?,
        digest: row.parsed(5)?,
        is_manifest: row.bool(6)?,
        size: row.int(7)?,
        cause: row.text(8)?,
        deleted_by: row.text(9)?,
        deleted_at: row.time(10)?,
        expires_at: row.time(11)?,
    })
}

/// What is in the trash, the last that was deleted first.
pub static LIST: List<Item> = List {
    table: "trash t",
    always: "",
    joins: "",
    columns: &[
        "t.id",
        "t.uid",
        "t.act",
        "t.project_id",
        "t.repository",
        "t.digest",
        "t.artifact IS NOT NULL",
        "t.size",
        "t.cause",
        "t.deleted_by",
        "t.deleted_at",
        "t.expires_at",
    ],
    read,
    id: "t.id",
    fields: &[
        Field::new(&["id"], "t.id", Of::Number).unique(),
        Field::new(&["repository"], "t.repository", Of::Text),
        Field::new(&["digest"], "t.digest", Of::Text),
        Field::new(&["cause"], "t.cause", Of::Text),
        Field::new(&["act"], "t.act", Of::Text),
        Field::new(&["deleted_by"], "t.deleted_by", Of::Text),
        Field::new(&["deleted_at"], "t.deleted_at", Of::Time).indexed(),
        Field::new(&["expires_at"], "t.expires_at", Of::Time),
        Field::new(&["tag"], "''", Of::Text)
            .exact("EXISTS (SELECT 1 FROM trash_tags g WHERE g.trash_id = t.id AND g.name = $1)")
            .unsorted(),
    ],
    order: &[("deleted_at", true)],
};

pub fn of_project(project: ProjectId) -> Within {
    Within::all().and("t.project_id = $1", [project.0.into()])
}

pub async fn find(conn: &mut Conn, id: TrashId) -> Result<Option<Item>> {
    conn.row(
        "SELECT id, uid, act, project_id, repository, digest, artifact IS NOT NULL, size, cause, deleted_by, deleted_at, expires_at
           FROM trash WHERE id = $1",
        &[id.into()],
        read,
    )
    .await
}

pub fn not_found(id: TrashId) -> Error {
    Error::not_found(What::Trash, format!("there is no {id} in the trash"))
}

/// Of one act in one repository, after one of them: what came last goes first, so that the manifests of an index come back before it.
pub async fn of_act(
    conn: &mut Conn,
    act: &str,
    repository: &str,
    before: TrashId,
    limit: i64,
) -> Result<Vec<Item>> {
    conn.rows(
        "SELECT id, uid, act, project_id, repository, digest, artifact IS NOT NULL, size, cause, deleted_by, deleted_at, expires_at
           FROM trash WHERE act = $1 AND repository = $2 AND id < $3 ORDER BY id DESC LIMIT $4",
        &[
            act.into(),
            repository.into(),
            before.into(),
            limit.into(),
        ],
        read,
    )
    .await
}

/// What was deleted with an artifact by the same act and belongs to it.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// The manifests of an index.
    pub children: Vec<Item>,
    pub attached: Vec<Item>,
}

pub async fn parts(conn: &mut Conn, item: &Item) -> Result<Parts> {
    let Some(manifest) = manifest(conn, item.id).await? else {
        return Ok(Parts::default());
    };
    let subject = item.digest.to_string();
    let attached = conn
        .rows(
            "SELECT id, uid, act, project_id, repository, digest, artifact IS NOT NULL, size, cause, deleted_by, deleted_at, expires_at
               FROM trash WHERE act = $1 AND repository = $2 AND accessory_of = $3 ORDER BY id LIMIT 10000",
            &[
                (&item.act).into(),
                (&item.repository).into(),
                (&subject).into(),
            ],
            read,
        )
        .await?;
    if manifest.children.is_empty() {
        return Ok(Parts {
            attached,
            ..Parts::default()
        });
    }
    let children: Vec<Digest> = manifest.children.iter().map(|child| child.digest).collect();
    let list = json_list(&children);
    let sql = with_list!(
        conn,
        "SELECT id, uid, act, project_id, repository, digest, artifact IS NOT NULL, size, cause, deleted_by, deleted_at, expires_at
           FROM trash WHERE act = $2 AND repository = $3 AND digest IN",
        "$1",
        "ORDER BY digest",
        ""
    );
    let values = &[
        (&list).into(),
        (&item.act).into(),
        (&item.repository).into(),
    ];
    Ok(Parts {
        children: conn.rows(sql, values, read).await?,
        attached,
    })
}

async fn manifest(conn: &mut Conn, id: TrashId) -> Result<Option<Manifest>> {
    let text = conn
        .row(
            "SELECT artifact FROM trash WHERE id = $1",
            &[id.into()],
            |row| row.opt_text(0),
        )
        .await?;
    text.flatten()
        .map(|text| {
            serde_json::from_str(&text)
                .map_err(model::error::internal("reading what is in the trash"))
        })
        .transpose()
}

/// The first `limit` tags of each of these, by the numbers of what they were taken from.
pub async fn tags(
    conn: &mut Conn,
    items: &[TrashId],
    limit: i64,
) -> Result<Vec<(TrashId, String)>> {
    let list = json_numbers(items.iter().map(|id| id.0));
    let sql = with_numbers!(
        conn,
        "SELECT trash_id, name FROM (
             SELECT trash_id, name, ROW_NUMBER() OVER (PARTITION BY trash_id ORDER BY name) AS place FROM trash_tags WHERE trash_id IN",
        "$1",
        ") AS placed WHERE place <= $2 ORDER BY trash_id, name"
    );
    conn.rows(sql, &[(&list).into(), limit.into()], |row| {
        Ok((TrashId(row.int(0)?), row.text(1)?))
    })
    .await
}

/// Ends up to `limit` things whose time is over, the oldest first; answers how many. What nothing holds then is condemned.
pub async fn expire_some(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64> {
    let sql = locking!(
        tx,
        "SELECT id FROM trash WHERE expires_at <= $1 ORDER BY expires_at, id LIMIT $2",
        "FOR UPDATE SKIP LOCKED"
    );
    let gone = tx
        .rows(sql, &[now.into(), limit.into()], |row| {
            Ok(TrashId(row.int(0)?))
        })
        .await?;
    end(tx, &gone, now).await?;
    Ok(gone.len() as u64)
}

/// Whether anything's time is over.
pub async fn any_expired(conn: &mut Conn, now: Timestamp) -> Result<bool> {
    conn.exists(
        "SELECT 1
          WHERE EXISTS (SELECT 1 FROM trash WHERE expires_at <= $1)
             OR EXISTS (SELECT 1 FROM trashed_projects WHERE expires_at <= $1)",
        &[now.into()],
    )
    .await
}

/// Ends one thing because somebody wants it gone.
pub async fn delete(tx: &mut Tx, item: &Item, now: Timestamp) -> Result<()> {
    let sql = locking!(tx, "SELECT id FROM trash WHERE id = $1", "FOR UPDATE");
    if !tx.exists(sql, &[item.id.into()]).await? {
        return Err(not_found(item.id));
    }
    end(tx, &[item.id], now).await?;
    let key = format!("{}@{}", item.repository, item.digest);
    let payload = json!({ "uid": item.uid });
    let (kind, project) = (Kind::TrashDeleted, Some(item.project));
    changes::append(tx, kind, &key, project, &payload, now).await
}

async fn end(tx: &mut Tx, items: &[TrashId], now: Timestamp) -> Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    let list = json_numbers(items.iter().map(|id| id.0));
    let sql = with_numbers!(
        tx,
        "SELECT DISTINCT b.id, b.digest FROM trash_blobs t JOIN blobs b ON b.id = t.blob_id WHERE t.trash_id IN",
        "$1",
        "ORDER BY b.digest"
    );
    let held = tx
        .rows(sql, &[(&list).into()], |row| {
            Ok((BlobId(row.int(0)?), row.parsed::<Digest>(1)?))
        })
        .await?;
    let digests: Vec<Digest> = held.iter().map(|(_, digest)| *digest).collect();
    blobs::lock(tx, &digests).await?;
    let sql = with_numbers!(tx, "DELETE FROM trash WHERE id IN", "$1", "");
    tx.execute(sql, &[(&list).into()]).await?;
    let ids: Vec<BlobId> = held.iter().map(|(id, _)| *id).collect();
    blobs::condemn_unheld(tx, &ids, now).await.map(|_| ())
}
