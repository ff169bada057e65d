//! Manifests of repositories (Harbor calls them artifacts) and what they name.

mod delete;
pub mod details;
mod ensure;
mod listed;

use model::{
    Result,
    id::{ArtifactId, BlobId, RepositoryId},
};
use oci::digest::Digest;

use crate::{
    Conn, Tx,
    blobs::{State, json_list},
    described::Description,
    dialect::with_list,
    value::Row,
};

pub use delete::{Deletion, Known, Spared, delete_some};
pub use ensure::ensure;
pub(crate) use listed::relist;

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
    pub children: Vec<Child>,
    /// Pushed under a tag, which tells the audit of it.
    pub by_tag: bool,
    /// What it is an accessory of, and as what, when that is known without its description.
    pub attached: Option<Attached>,
    /// None: it is found out later.
    pub description: Option<Description>,
}

/// A manifest that an index names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    pub id: ArtifactId,
    /// JSON of its platform, annotations and urls, as the index tells them.
    pub descriptor: Option<String>,
}

/// What a manifest is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// As Harbor names it: `signature.cosign`.
    pub kind: String,
    pub subject: Digest,
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

/// Those of `digests` that are manifests of the repository, with their sizes as an index sums them. None of them is deleted
/// or tagged before the transaction ends: whether lists show them depends on the index.
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
        "FOR NO KEY UPDATE"
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

/// An index of the repository that names this manifest, when there is one.
pub async fn find_parent(conn: &mut Conn, child: ArtifactId) -> Result<Option<Digest>> {
    conn.row(
        "SELECT a.digest FROM artifact_children c JOIN artifacts a ON a.id = c.parent_id WHERE c.child_id = $1 ORDER BY c.parent_id LIMIT 1",
        &[child.into()],
        |row| row.parsed(0),
    )
    .await
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
