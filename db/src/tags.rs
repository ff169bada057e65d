//! Tags: (digest, clock, node). A push moves one; of two writers the later clock wins.

use model::{
    Error, Result, What,
    audit::Event,
    change::Kind,
    id::{ArtifactId, RepositoryId, new_uid},
    time::Timestamp,
};
use oci::{digest::Digest, name::Tag};
use serde_json::json;

use crate::{
    Conn, Tx,
    artifacts::Artifact,
    blobs::json_numbers,
    changes,
    dialect::{locking, with_numbers},
    generations::Touch,
    repositories::Repository,
};

/// Why a tag is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its manifest was pushed: that is what the audit tells.
    Push,
    /// Somebody tagged a manifest that is there.
    Tagging,
}

/// Points a tag at a manifest of its repository.
pub async fn set(
    tx: &mut Tx,
    repository: &Repository,
    tag: &Tag,
    artifact: ArtifactId,
    digest: &Digest,
    cause: Cause,
    now: Timestamp,
) -> Result<()> {
    let (text, node) = (digest.to_string(), tx.node());
    let mut set = false;
    let mut clock = 0;
    // A second round only when another transaction made this very tag between the two statements: its row is locked then.
    while !set {
        let sql = locking!(
            tx,
            "SELECT clock FROM tags WHERE repository_id = $1 AND name = $2",
            "FOR UPDATE"
        );
        let before = tx
            .row(sql, &[repository.id.into(), tag.as_str().into()], |row| {
                row.int(0)
            })
            .await?;
        clock = tx.tick_after(before.unwrap_or(0), now);
        let uid = new_uid();
        let values = &[
            (&uid).into(),
            repository.id.into(),
            tag.as_str().into(),
            artifact.into(),
            (&text).into(),
            clock.into(),
            (&*node).into(),
            now.into(),
        ];
        set = tx.execute(SET, values).await? > 0;
    }
    tx.touch(Touch::Repository(repository.id));
    let (key, payload) = (
        format!("{}:{tag}", repository.name),
        json!({ "digest": text }),
    );
    let pushed = format!("push artifact: {}@{text}", repository.name);
    let mut change = changes::New {
        clock: Some(clock),
        ..changes::New::of(Kind::TagMoved, &key, Some(repository.project), &payload)
    };
    if cause == Cause::Push {
        change.event = Some(Event::CreateArtifact);
        change.description = Some(&pushed);
    }
    changes::append_new(tx, &change, now).await
}

const SET: &str =
    "INSERT INTO tags (uid, repository_id, name, artifact_id, digest, clock, node, pushed_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
     ON CONFLICT (repository_id, name) DO UPDATE SET
         artifact_id = excluded.artifact_id,
         digest      = excluded.digest,
         clock       = excluded.clock,
         node        = excluded.node,
         pushed_at   = excluded.pushed_at
      WHERE tags.clock < excluded.clock";

/// Removes one tag and nothing else.
pub async fn delete(tx: &mut Tx, repository: &Repository, tag: &Tag, now: Timestamp) -> Result<()> {
    let key = format!("{}:{tag}", repository.name);
    let (digest, clock) = tx
        .row(
            "DELETE FROM tags WHERE repository_id = $1 AND name = $2 RETURNING digest, clock",
            &[repository.id.into(), tag.as_str().into()],
            |row| Ok((row.text(0)?, row.int(1)?)),
        )
        .await?
        .ok_or_else(|| Error::not_found(What::Manifest, format!("artifact {key} not found")))?;
    tx.touch(Touch::Repository(repository.id));
    let payload = json!({ "digest": digest });
    let change = changes::New {
        // Later than the tag itself, which another node's faster clock may have written.
        clock: Some(tx.tick_after(clock, now)),
        ..changes::New::of(Kind::TagDeleted, &key, Some(repository.project), &payload)
    };
    changes::append_new(tx, &change, now).await
}

/// Removes up to `limit` tags of a manifest that is about to go; answers how many went. Of them the audit tells nothing: it
/// tells of the manifest.
pub(crate) async fn delete_of(
    tx: &mut Tx,
    repository: &Repository,
    artifact: &Artifact,
    limit: i64,
    now: Timestamp,
) -> Result<i64> {
    let sql = locking!(
        tx,
        "SELECT id, clock FROM tags WHERE artifact_id = $1 ORDER BY id LIMIT $2",
        "FOR UPDATE"
    );
    let going = tx
        .rows(sql, &[artifact.id.into(), limit.into()], |row| {
            Ok((row.int(0)?, row.int(1)?))
        })
        .await?;
    let Some(latest) = going.iter().map(|(_, clock)| *clock).max() else {
        return Ok(0);
    };
    // Later than each of them, as when one goes alone.
    let (clock, origin) = (tx.tick_after(latest, now), tx.node());
    let (kind, digest) = (Kind::TagDeleted.as_str(), artifact.digest.to_string());
    let payload = json!({ "digest": digest }).to_string();
    let list = json_numbers(going.iter().map(|(id, _)| *id));
    let sql = with_numbers!(
        tx,
        "INSERT INTO changes (origin, clock, kind, key, payload, at)
         SELECT $2, $3, $4, $5 || ':' || name, $6, $7 FROM tags WHERE id IN",
        "$1",
        "ORDER BY id"
    );
    let values = &[
        (&list).into(),
        (&*origin).into(),
        clock.into(),
        kind.into(),
        (&repository.name).into(),
        (&payload).into(),
        now.into(),
    ];
    tx.execute(sql, values).await?;
    let sql = with_numbers!(tx, "DELETE FROM tags WHERE id IN", "$1", "");
    tx.execute(sql, &[(&list).into()]).await?;
    tx.touch(Touch::Repository(repository.id));
    Ok(going.len() as i64)
}

/// Names sorted by byte, after `after`.
pub async fn list(
    conn: &mut Conn,
    repository: RepositoryId,
    after: &str,
    limit: i64,
) -> Result<Vec<String>> {
    conn.rows(
        "SELECT name FROM tags WHERE repository_id = $1 AND name > $2 ORDER BY name LIMIT $3",
        &[repository.into(), after.into(), limit.into()],
        |row| row.text(0),
    )
    .await
}
