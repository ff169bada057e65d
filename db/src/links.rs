//! Which repository holds which content. A link lives while a manifest of the repository names the content, or while it is
//! fresh (what was uploaded or mounted and no manifest names yet). `check_at` says when the collector should ask.
//!
//! A link counts for the project's quota while one or the other holds (`counted`): once the last manifest that names a content
//! is deleted it counts no more, though it may be read until the collector ends it. How many of a project's links count a
//! content is summed up when the transaction ends: see `counters`.

use model::{
    Error, Result,
    id::{ArtifactId, BlobId, ProjectId, RepositoryId},
    time::Timestamp,
};
use oci::digest::Digest;

use crate::{
    Conn, Tx,
    blobs::{self, Blob, json_list, json_numbers},
    dialect::{with_list, with_numbers},
    generations::Touch,
    repositories::Repository,
};

/// The content as this repository may read it; `None` when it does not hold it or it is gone.
pub async fn find(
    conn: &mut Conn,
    repository: RepositoryId,
    digest: &Digest,
) -> Result<Option<Blob>> {
    let digest = digest.to_string();
    let blob = conn
        .row(
            "SELECT b.id, b.digest, b.generation, b.size, b.location, b.state
               FROM blobs b
               JOIN repository_blobs l ON l.blob_id = b.id
              WHERE b.digest = $2 AND b.state <> 2 AND l.repository_id = $1",
            &[repository.into(), (&digest).into()],
            blobs::read,
        )
        .await?;
    Ok(blob)
}

/// Those of `digests` that the repository holds, in the order of their digests, shared with other pushes against the
/// collector. Hold them first ([`blobs::hold`]): while that waits for the collector, links that it saw may go.
pub async fn held(tx: &mut Tx, repository: RepositoryId, digests: &[Digest]) -> Result<Vec<Blob>> {
    let list = json_list(digests);
    // CROSS JOIN keeps the order: SQLite would rather read all links of the repository.
    let sql = with_list!(
        tx,
        "SELECT b.id, b.digest, b.generation, b.size, b.location, b.state
           FROM blobs b
          CROSS JOIN repository_blobs l
          WHERE l.blob_id = b.id AND l.repository_id = $1 AND b.state <> 2 AND b.digest IN",
        "$2",
        "ORDER BY b.digest",
        "FOR SHARE OF b"
    );
    tx.rows(sql, &[repository.into(), (&list).into()], blobs::read)
        .await
}

/// Gives the repository a content. Lock the content first. Held already, it is fresh again. `check_at` is none when a
/// manifest names it in the same transaction.
pub async fn add(
    tx: &mut Tx,
    repository: &Repository,
    blob: BlobId,
    check_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<()> {
    tx.touch(Touch::Repository(repository.id));
    let values = &[
        repository.id.into(),
        blob.into(),
        now.into(),
        check_at.into(),
    ];
    let made = tx
        .execute(
            "INSERT INTO repository_blobs (repository_id, blob_id, added_at, check_at, counted) VALUES ($1, $2, $3, $4, TRUE)
             ON CONFLICT (repository_id, blob_id) DO NOTHING",
            values,
        )
        .await?;
    if made > 0 {
        tx.pending.link(repository.project, blob, 1);
        return Ok(());
    }
    let counted = tx
        .row(
            "UPDATE repository_blobs SET added_at = $3, check_at = $4 WHERE repository_id = $1 AND blob_id = $2 RETURNING counted",
            values,
            |row| row.bool(0),
        )
        .await?
        .ok_or_else(|| Error::Internal(anyhow::anyhow!("a link came and went under the lock of its content")))?;
    if !counted {
        tx.execute(
            "UPDATE repository_blobs SET counted = TRUE WHERE repository_id = $1 AND blob_id = $2",
            &[repository.id.into(), blob.into()],
        )
        .await?;
        tx.pending.link(repository.project, blob, 1);
    }
    Ok(())
}

/// Takes a content from the repository, unless a manifest of it names it. Lock the content first. True when it went.
pub async fn remove_unless_named(
    tx: &mut Tx,
    repository: &Repository,
    blob: BlobId,
) -> Result<bool> {
    let removed = tx
        .row(
            "DELETE FROM repository_blobs
              WHERE repository_id = $1 AND blob_id = $2
                AND NOT EXISTS (SELECT 1 FROM artifact_blobs WHERE repository_id = $1 AND blob_id = $2)
             RETURNING counted",
            &[repository.id.into(), blob.into()],
            |row| row.bool(0),
        )
        .await?;
    if removed == Some(true) {
        tx.pending.link(repository.project, blob, -1);
    }
    tx.touch(Touch::Repository(repository.id));
    Ok(removed.is_some())
}

/// A link that the collector should look at.
#[derive(Debug, Clone)]
pub struct Due {
    pub repository: Repository,
    pub blob: BlobId,
    pub digest: Digest,
    pub size: u64,
}

/// Links whose time has come, the oldest first.
pub async fn due(conn: &mut Conn, now: Timestamp, limit: i64) -> Result<Vec<Due>> {
    conn.rows(
        "SELECT l.repository_id, r.name, l.blob_id, b.digest, b.size, r.project_id
           FROM repository_blobs l
           JOIN blobs b ON b.id = l.blob_id
           JOIN repositories r ON r.id = l.repository_id
          WHERE l.check_at <= $1
          ORDER BY l.check_at, l.repository_id, l.blob_id
          LIMIT $2",
        &[now.into(), limit.into()],
        |row| {
            Ok(Due {
                repository: Repository {
                    id: RepositoryId(row.int(0)?),
                    project: ProjectId(row.int(5)?),
                    name: row.text(1)?,
                },
                blob: BlobId(row.int(2)?),
                digest: row.parsed(3)?,
                size: row.int(4)?.unsigned_abs(),
            })
        },
    )
    .await
}

/// Whether any link's time has come.
pub async fn any_due(conn: &mut Conn, now: Timestamp) -> Result<bool> {
    conn.exists(
        "SELECT 1 FROM repository_blobs WHERE check_at <= $1 LIMIT 1",
        &[now.into()],
    )
    .await
}

/// Ends those of the repository's links that are still due and that no manifest names, and answers their contents; of the
/// others it notes that nothing needs asking. Lock the contents first.
pub async fn collect(
    tx: &mut Tx,
    repository: &Repository,
    contents: &[BlobId],
    now: Timestamp,
) -> Result<Vec<BlobId>> {
    let list = json_numbers(contents.iter().map(|id| id.0));
    // The deletion of a manifest touches links and not contents: without this its new check_at could be lost.
    if tx.locks_rows() {
        hold(tx, repository.id, &list).await?;
    }
    // `+check_at`: the index over all that is due would be read from its beginning each time.
    let sql = with_numbers!(
        tx,
        "DELETE FROM repository_blobs
          WHERE repository_id = $1 AND +check_at <= $3
            AND NOT EXISTS (SELECT 1 FROM artifact_blobs n WHERE n.blob_id = repository_blobs.blob_id AND n.repository_id = $1)
            AND blob_id IN",
        "$2",
        "RETURNING blob_id, counted"
    );
    let ended = tx
        .rows(
            sql,
            &[repository.id.into(), (&list).into(), now.into()],
            |row| Ok((BlobId(row.int(0)?), row.bool(1)?)),
        )
        .await?;
    let ended = uncount(tx, repository, ended);
    if ended.len() < contents.len() {
        let sql = with_numbers!(
            tx,
            "UPDATE repository_blobs SET check_at = NULL WHERE repository_id = $1 AND +check_at <= $3 AND blob_id IN",
            "$2",
            ""
        );
        tx.execute(sql, &[repository.id.into(), (&list).into(), now.into()])
            .await?;
    }
    if !ended.is_empty() {
        tx.touch(Touch::Repository(repository.id));
    }
    Ok(ended)
}

/// Ends up to `limit` links of a repository that is going, and condemns what nobody holds then; answers how many ended.
/// There is nothing to wait for: nobody who has its name can read from it any more.
pub(crate) async fn end_some(
    tx: &mut Tx,
    repository: &Repository,
    limit: i64,
    now: Timestamp,
) -> Result<i64> {
    let going = tx
        .rows(
            "SELECT b.id, b.digest
               FROM repository_blobs l
               JOIN blobs b ON b.id = l.blob_id
              WHERE l.repository_id = $1
              ORDER BY l.blob_id
              LIMIT $2",
            &[repository.id.into(), limit.into()],
            |row| Ok((BlobId(row.int(0)?), row.parsed(1)?)),
        )
        .await?;
    if going.is_empty() {
        return Ok(0);
    }
    let mut digests: Vec<Digest> = going.iter().map(|(_, digest)| *digest).collect();
    digests.sort_unstable();
    blobs::lock(tx, &digests).await?;
    let list = json_numbers(going.iter().map(|(id, _)| id.0));
    let sql = with_numbers!(
        tx,
        "DELETE FROM repository_blobs WHERE repository_id = $1 AND blob_id IN",
        "$2",
        "RETURNING blob_id, counted"
    );
    let ended = tx
        .rows(sql, &[repository.id.into(), (&list).into()], |row| {
            Ok((BlobId(row.int(0)?), row.bool(1)?))
        })
        .await?;
    let ended = uncount(tx, repository, ended);
    blobs::condemn_unheld(tx, &ended, now).await?;
    Ok(going.len() as i64)
}

/// A link that the collector would end now.
#[derive(Debug, Clone)]
pub struct Unnamed {
    pub repository_name: String,
    pub digest: Digest,
    pub size: u64,
    pub added_at: Timestamp,
    pub check_at: Timestamp,
    /// Whether another repository, or the trash, goes on holding the content.
    pub held_elsewhere: bool,
}

/// Links whose time has come and that no manifest names, the oldest first.
pub async fn unnamed(conn: &mut Conn, now: Timestamp, limit: i64) -> Result<Vec<Unnamed>> {
    conn.rows(
        "SELECT r.name, b.digest, b.size, l.added_at, l.check_at,
                EXISTS (SELECT 1 FROM repository_blobs o
                         WHERE o.blob_id = l.blob_id AND o.repository_id <> l.repository_id
                           AND (o.check_at IS NULL OR o.check_at > $1
                                OR EXISTS (SELECT 1 FROM artifact_blobs n WHERE n.blob_id = o.blob_id AND n.repository_id = o.repository_id)))
                OR EXISTS (SELECT 1 FROM trash_blobs t WHERE t.blob_id = l.blob_id)
           FROM repository_blobs l
           JOIN blobs b ON b.id = l.blob_id
           JOIN repositories r ON r.id = l.repository_id
          WHERE l.check_at <= $1
            AND NOT EXISTS (SELECT 1 FROM artifact_blobs n WHERE n.blob_id = l.blob_id AND n.repository_id = l.repository_id)
          ORDER BY l.check_at, l.repository_id, l.blob_id
          LIMIT $2",
        &[now.into(), limit.into()],
        |row| {
            Ok(Unnamed {
                repository_name: row.text(0)?,
                digest: row.parsed(1)?,
                size: row.int(2)?.unsigned_abs(),
                added_at: row.time(3)?,
                check_at: row.time(4)?,
                held_elsewhere: row.bool(5)?,
            })
        },
    )
    .await
}

/// Links that have gone; answers their contents.
fn uncount(tx: &mut Tx, repository: &Repository, gone: Vec<(BlobId, bool)>) -> Vec<BlobId> {
    for (blob, _) in gone.iter().filter(|(_, counted)| *counted) {
        tx.pending.link(repository.project, *blob, -1);
    }
    gone.into_iter().map(|(blob, _)| blob).collect()
}

/// A manifest names these contents from now on: they live as long as it does, not as long as they are fresh.
pub(crate) async fn named(tx: &mut Tx, repository: &Repository, contents: &[BlobId]) -> Result<()> {
    let list = json_numbers(contents.iter().map(|id| id.0));
    let held = hold(tx, repository.id, &list).await?;
    if held
        .iter()
        .all(|link| link.counted && link.check_at.is_none())
    {
        return Ok(());
    }
    let sql = with_numbers!(
        tx,
        "UPDATE repository_blobs SET check_at = NULL, counted = TRUE WHERE repository_id = $1 AND blob_id IN",
        "$2",
        ""
    );
    tx.execute(sql, &[repository.id.into(), (&list).into()])
        .await?;
    for link in held.iter().filter(|link| !link.counted) {
        tx.pending.link(repository.project, link.blob, 1);
    }
    Ok(())
}

/// Before a manifest goes: what it alone named counts no more and is asked about at `check_at`; or it is fresh, since somebody
/// uploaded or mounted it after a manifest had named it, and counts until that is over.
pub(crate) async fn release(
    tx: &mut Tx,
    repository: &Repository,
    artifact: ArtifactId,
    check_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let named = tx
        .rows(
            "SELECT blob_id FROM artifact_blobs WHERE artifact_id = $1 ORDER BY blob_id",
            &[artifact.into()],
            |row| row.int(0),
        )
        .await?;
    let list = json_numbers(named);
    let held = hold(tx, repository.id, &list).await?;
    let sql = with_numbers!(
        tx,
        "UPDATE repository_blobs SET
             check_at = CASE WHEN +check_at > $3 THEN check_at ELSE $3 END,
             counted  = counted AND COALESCE(+check_at > $4, FALSE)
          WHERE repository_id = $1
            AND NOT EXISTS (SELECT 1 FROM artifact_blobs n
                             WHERE n.blob_id = repository_blobs.blob_id AND n.repository_id = $1 AND n.artifact_id <> $5)
            AND blob_id IN",
        "$2",
        "RETURNING blob_id, counted"
    );
    let values = &[
        repository.id.into(),
        (&list).into(),
        check_at.into(),
        now.into(),
        artifact.into(),
    ];
    let released = tx
        .rows(sql, values, |row| Ok((BlobId(row.int(0)?), row.bool(1)?)))
        .await?;
    for (blob, counted) in released {
        let was_counted = held.iter().any(|link| link.blob == blob && link.counted);
        if was_counted && !counted {
            tx.pending.link(repository.project, blob, -1);
        }
    }
    Ok(())
}

/// A link whose row is held.
struct Held {
    blob: BlobId,
    counted: bool,
    check_at: Option<Timestamp>,
}

/// Holds links in the order of their contents, as everybody does who changes several: two would wait for each other.
async fn hold(tx: &mut Tx, repository: RepositoryId, list: &String) -> Result<Vec<Held>> {
    let sql = with_numbers!(
        tx,
        "SELECT blob_id, counted, check_at FROM repository_blobs WHERE repository_id = $1 AND blob_id IN",
        "$2",
        "ORDER BY blob_id",
        "FOR UPDATE"
    );
    tx.rows(sql, &[repository.into(), list.into()], |row| {
        Ok(Held {
            blob: BlobId(row.int(0)?),
            counted: row.bool(1)?,
            check_at: row.opt_time(2)?,
        })
    })
    .await
}

/// Contents that other repositories hold, for a mount without `from`: the names of up to `limit` such repositories.
pub async fn holders(conn: &mut Conn, digest: &Digest, limit: i64) -> Result<Vec<String>> {
    let digest = digest.to_string();
    conn.rows(
        "SELECT r.name
           FROM blobs b
           JOIN repository_blobs l ON l.blob_id = b.id
           JOIN repositories r ON r.id = l.repository_id
          WHERE b.digest = $1 AND b.state <> 2 AND b.state <> 3
          ORDER BY l.repository_id
          LIMIT $2",
        &[(&digest).into(), limit.into()],
        |row| row.text(0),
    )
    .await
}
