//! What must hold between the tables and no constraint can say; asked by the file-system check, a range of numbers at a time.

use model::{
    Result,
    change::Kind,
    id::{ArtifactId, BlobId, ProjectId, RepositoryId, TagId},
    time::Timestamp,
};
use oci::digest::Digest;
use serde_json::json;

use crate::{
    Conn, Tx, artifacts,
    blobs::{self, State},
    changes,
    dialect::locking,
    generations::Touch,
    links,
    repositories::Repository,
};

/// The last of up to `limit` manifests after `after`, where the next range ends, and how many they are.
pub async fn next_artifacts(
    conn: &mut Conn,
    after: ArtifactId,
    limit: i64,
) -> Result<Option<(ArtifactId, u64)>> {
    let next = conn
        .row(
            "SELECT MAX(id), COUNT(*) FROM (SELECT id FROM artifacts WHERE id > $1 ORDER BY id LIMIT $2) AS next",
            &[after.into(), limit.into()],
            |row| Ok((row.opt_int(0)?, row.int(1)?)),
        )
        .await?;
    Ok(next.and_then(|(last, count)| Some((ArtifactId(last?), count.unsigned_abs()))))
}

/// A manifest that names a content which its repository does not hold, or whose bytes have been given up.
#[derive(Debug, Clone)]
pub struct Unlinked {
    pub artifact: ArtifactId,
    pub repository: Repository,
    pub manifest: Digest,
    pub blob: BlobId,
    pub digest: Digest,
    pub state: State,
}

/// Of the manifests over `after` up to `last`.
pub async fn unlinked(
    conn: &mut Conn,
    after: ArtifactId,
    last: ArtifactId,
) -> Result<Vec<Unlinked>> {
    conn.rows(
        "SELECT a.id, a.repository_id, r.name, a.digest, b.id, b.digest, b.state, r.project_id
           FROM artifacts a
           JOIN repositories r ON r.id = a.repository_id
           JOIN artifact_blobs n ON n.artifact_id = a.id
           JOIN blobs b ON b.id = n.blob_id
          WHERE a.id > $1 AND a.id <= $2
            AND (b.state = 2 OR NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.repository_id = a.repository_id AND l.blob_id = b.id))
         UNION ALL
         SELECT a.id, a.repository_id, r.name, a.digest, b.id, b.digest, b.state, r.project_id
           FROM artifacts a
           JOIN repositories r ON r.id = a.repository_id
           JOIN blobs b ON b.id = a.blob_id
          WHERE a.id > $1 AND a.id <= $2
            AND NOT EXISTS (SELECT 1 FROM artifact_blobs n WHERE n.artifact_id = a.id AND n.blob_id = a.blob_id)
          ORDER BY 1, 5",
        &[after.into(), last.into()],
        |row| {
            Ok(Unlinked {
                artifact: ArtifactId(row.int(0)?),
                repository: Repository {
                    id: RepositoryId(row.int(1)?),
                    project: ProjectId(row.int(7)?),
                    name: row.text(2)?,
                },
                manifest: row.parsed(3)?,
                blob: BlobId(row.int(4)?),
                digest: row.parsed(5)?,
                state: State::from_number(row.int(6)?)?,
            })
        },
    )
    .await
}

/// A manifest that lists show and should not, or the other way round.
#[derive(Debug, Clone)]
pub struct Mislisted {
    pub artifact: ArtifactId,
    pub repository: Repository,
    pub digest: Digest,
    pub is_listed: bool,
}

/// Of the manifests over `after` up to `last`.
pub async fn mislisted(
    conn: &mut Conn,
    after: ArtifactId,
    last: ArtifactId,
) -> Result<Vec<Mislisted>> {
    conn.rows(
        "SELECT a.id, a.repository_id, r.name, r.project_id, a.digest, a.listed
           FROM artifacts a
           JOIN repositories r ON r.id = a.repository_id
          WHERE a.id > $1 AND a.id <= $2
            AND a.listed <> (a.accessory IS NULL
                             AND (EXISTS (SELECT 1 FROM tags t WHERE t.artifact_id = a.id)
                                  OR NOT EXISTS (SELECT 1 FROM artifact_children c WHERE c.child_id = a.id)))
          ORDER BY a.id",
        &[after.into(), last.into()],
        |row| {
            Ok(Mislisted {
                artifact: ArtifactId(row.int(0)?),
                repository: Repository {
                    id: RepositoryId(row.int(1)?),
                    project: ProjectId(row.int(3)?),
                    name: row.text(2)?,
                },
                digest: row.parsed(4)?,
                is_listed: row.bool(5)?,
            })
        },
    )
    .await
}

/// Lets lists show a manifest, or not, as it should be by now.
pub async fn relist(tx: &mut Tx, mislisted: &Mislisted) -> Result<()> {
    artifacts::relist(tx, &mislisted.repository, &[mislisted.artifact]).await
}

/// What became of an attempt to [`link`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linking {
    Linked,
    /// The content's bytes have been given up.
    GivenUp,
    /// The manifest was deleted meanwhile.
    Gone,
}

/// Gives the repository what its manifest names.
pub async fn link(tx: &mut Tx, unlinked: &Unlinked, now: Timestamp) -> Result<Linking> {
    let locked = blobs::lock(tx, &[unlinked.digest]).await?;
    // Contents before manifests before links, as everybody else does.
    let sql = locking!(tx, "SELECT 1 FROM artifacts WHERE id = $1", "FOR SHARE");
    let manifest = tx.row(sql, &[unlinked.artifact.into()], |_| Ok(())).await?;
    if manifest.is_none() {
        return Ok(Linking::Gone);
    }
    let Some(blob) = locked.into_iter().find(|blob| blob.id == unlinked.blob) else {
        return Ok(Linking::GivenUp);
    };
    if blob.state == State::Condemned {
        blobs::revive(tx, blob.id, now).await?;
    }
    tx.execute(
        "INSERT INTO artifact_blobs (artifact_id, blob_id, repository_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        &[unlinked.artifact.into(), blob.id.into(), unlinked.repository.id.into()],
    )
    .await?;
    links::add(tx, &unlinked.repository, blob.id, None, now).await?;
    Ok(Linking::Linked)
}

/// The last of up to `limit` tags after `after`, where the next range ends, and how many they are.
pub async fn next_tags(conn: &mut Conn, after: TagId, limit: i64) -> Result<Option<(TagId, u64)>> {
    let next = conn
        .row(
            "SELECT MAX(id), COUNT(*) FROM (SELECT id FROM tags WHERE id > $1 ORDER BY id LIMIT $2) AS next",
            &[after.into(), limit.into()],
            |row| Ok((row.opt_int(0)?, row.int(1)?)),
        )
        .await?;
    Ok(next.and_then(|(last, count)| Some((TagId(last?), count.unsigned_abs()))))
}

/// A tag that does not point where it says.
#[derive(Debug, Clone)]
pub struct LooseTag {
    pub id: TagId,
    pub repository: Repository,
    pub name: String,
    pub digest: Digest,
    pub artifact: ArtifactId,
    /// The manifest in the tag's repository that it points at, when there is one.
    pub points_at: Option<Digest>,
}

/// Of the tags over `after` up to `last`.
pub async fn loose_tags(conn: &mut Conn, after: TagId, last: TagId) -> Result<Vec<LooseTag>> {
    conn.rows(
        "SELECT t.id, t.repository_id, r.name, t.name, t.digest, t.artifact_id, a.digest, r.project_id
           FROM tags t
           JOIN repositories r ON r.id = t.repository_id
           LEFT JOIN artifacts a ON a.id = t.artifact_id AND a.repository_id = t.repository_id
          WHERE t.id > $1 AND t.id <= $2 AND (a.id IS NULL OR a.digest <> t.digest)
          ORDER BY t.id",
        &[after.into(), last.into()],
        |row| {
            let points_at = row.opt_text(6)?.map(|text| text.parse()).transpose();
            Ok(LooseTag {
                id: TagId(row.int(0)?),
                repository: Repository {
                    id: RepositoryId(row.int(1)?),
                    project: ProjectId(row.int(7)?),
                    name: row.text(2)?,
                },
                name: row.text(3)?,
                digest: row.parsed(4)?,
                artifact: ArtifactId(row.int(5)?),
                points_at: points_at.map_err(model::error::internal("reading a digest"))?,
            })
        },
    )
    .await
}

/// Makes a tag say what it points at; one that points at nothing goes. False when it is not any more as it was read: a push
/// has moved it meanwhile.
pub async fn mend_tag(tx: &mut Tx, tag: &LooseTag, now: Timestamp) -> Result<bool> {
    let sql = locking!(
        tx,
        "SELECT clock FROM tags WHERE id = $1 AND digest = $2 AND artifact_id = $3",
        "FOR UPDATE"
    );
    let said = tag.digest.to_string();
    let values = &[tag.id.into(), (&said).into(), tag.artifact.into()];
    let Some(clock) = tx.row(sql, values, |row| row.int(0)).await? else {
        return Ok(false);
    };
    let (clock, node) = (tx.tick_after(clock, now), tx.node());
    let (kind, digest) = if let Some(digest) = &tag.points_at {
        let digest = digest.to_string();
        tx.execute(
            "UPDATE tags SET digest = $2, clock = $3, node = $4 WHERE id = $1",
            &[
                tag.id.into(),
                (&digest).into(),
                clock.into(),
                (&*node).into(),
            ],
        )
        .await?;
        (Kind::TagMoved, digest)
    } else {
        tx.execute("DELETE FROM tags WHERE id = $1", &[tag.id.into()])
            .await?;
        (Kind::TagDeleted, said)
    };
    let repository = &tag.repository;
    artifacts::relist(tx, repository, &[tag.artifact]).await?;
    tx.touch(Touch::Repository(repository.id));
    let (key, payload) = (
        format!("{}:{}", repository.name, tag.name),
        json!({ "digest": digest }),
    );
    let change = changes::New {
        clock: Some(clock),
        ..changes::New::of(kind, &key, Some(repository.project), &payload)
    };
    changes::append_new(tx, &change, now).await?;
    Ok(true)
}
