//! Tags: (digest, clock, node). A push moves one; of two writers the later clock wins.

pub mod details;

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
    Conn, Tx, artifacts,
    blobs::json_numbers,
    changes,
    dialect::{locking, with_numbers},
    generations::Touch,
    immutable::{self, Rules},
    repositories::Repository,
    trash::{self, Bin},
};

/// Why a tag is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its manifest was pushed: that is what the audit tells.
    Push,
    /// The manifest that had it was copied here.
    Copy,
    /// Somebody tagged a manifest that is there, with a tag that is not.
    Tagging,
    /// It stood in the registry whose tree was taken over; what was set here since counts more.
    Import,
}

/// Points a tag at a manifest of its repository. One that is there is judged under its lock: also of two who make it at once the
/// second finds it there.
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
    let mut left = None;
    // A second round only when another transaction made this very tag between the two statements.
    while !set {
        // Whoever has the tag now first, and then the tag: of two who take his last two one must see that, and so must whoever
        // makes him part of an index.
        let sql = locking!(
            tx,
            "SELECT t.clock, t.artifact_id
               FROM tags t
               JOIN artifacts a ON a.id = t.artifact_id
              WHERE t.repository_id = $1 AND t.name = $2",
            "FOR NO KEY UPDATE OF a FOR UPDATE OF t"
        );
        let before = tx
            .row(sql, &[repository.id.into(), tag.as_str().into()], |row| {
                Ok((row.int(0)?, ArtifactId(row.int(1)?)))
            })
            .await?;
        if let Some((_, holder)) = before
            && !may_move(tx, repository, tag, holder == artifact, cause).await?
        {
            return Ok(());
        }
        clock = tx.tick_after(before.map_or(0, |(clock, _)| clock), now);
        left = None;
        if let Some((_, holder)) = before
            && holder != artifact
            && is_part(tx, holder).await?
        {
            left = Some(holder);
        }
        let uid = new_uid();
        let values = [
            repository.id.into(),
            tag.as_str().into(),
            artifact.into(),
            (&text).into(),
            clock.into(),
            (&*node).into(),
            now.into(),
            (&uid).into(),
        ];
        let written = match before {
            Some(_) => tx.execute(MOVE, &values[..7]).await?,
            None => tx.execute(MAKE, &values).await?,
        };
        set = written > 0;
    }
    tx.touch(Touch::Repository(repository.id));
    relist(tx, repository, artifact, left).await?;
    let (key, payload) = (
        format!("{}:{tag}", repository.name),
        json!({ "digest": text }),
    );
    let pushed = format!("push artifact: {}@{text}", repository.name);
    let mut change = changes::New {
        clock: Some(clock),
        ..changes::New::of(Kind::TagMoved, &key, Some(repository.project), &payload)
    };
    match cause {
        Cause::Push => {
            change.event = Some(Event::CreateArtifact);
            change.description = Some(&pushed);
        }
        // Nobody did it just now.
        Cause::Import => change.event = None,
        Cause::Copy | Cause::Tagging => {}
    }
    changes::append_new(tx, &change, now).await
}

/// Whether an index names it, as things stand now that its row is held.
async fn is_part(tx: &mut Tx, artifact: ArtifactId) -> Result<bool> {
    tx.exists(
        "SELECT 1 FROM artifact_children WHERE child_id = $1 LIMIT 1",
        &[artifact.into()],
    )
    .await
}

/// A part of an index that got a tag is shown by lists, one that lost its last is not.
async fn relist(
    tx: &mut Tx,
    repository: &Repository,
    artifact: ArtifactId,
    left: Option<ArtifactId>,
) -> Result<()> {
    let tagged = (!tx.pending.is_listed(artifact)).then_some(artifact);
    let left = left.filter(|left| *left != artifact);
    let changed: Vec<ArtifactId> = tagged.into_iter().chain(left).collect();
    if changed.is_empty() {
        return Ok(());
    }
    artifacts::relist(tx, repository, &changed).await
}

const MOVE: &str =
    "UPDATE tags SET artifact_id = $3, digest = $4, clock = $5, node = $6, pushed_at = $7
      WHERE repository_id = $1 AND name = $2 AND clock < $5";

const MAKE: &str =
    "INSERT INTO tags (repository_id, name, artifact_id, digest, clock, node, pushed_at, uid)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
     ON CONFLICT (repository_id, name) DO NOTHING";

/// Whether a tag that is there is to be moved; false when it stays as it is. The texts are Harbor's.
async fn may_move(
    tx: &mut Tx,
    repository: &Repository,
    tag: &Tag,
    is_there: bool,
    cause: Cause,
) -> Result<bool> {
    if cause == Cause::Tagging {
        return Err(Error::Conflict(format!(
            "tag {tag} already exists in the repository {}",
            repository.name
        )));
    }
    if cause == Cause::Import || (cause == Cause::Copy && is_there) {
        return Ok(false);
    }
    let rules = immutable::rules(tx, repository.project).await?;
    if !rules.hold(&repository.name, tag.as_str()) {
        return Ok(true);
    }
    let (_, name) = repository.name.split_once('/').unwrap_or_default();
    Err(Error::Precondition(match cause {
        Cause::Push => {
            format!("Failed to process request due to '{name}:{tag}' configured as immutable.")
        }
        Cause::Copy | Cause::Tagging | Cause::Import => {
            format!("the tag {tag} configured as immutable, cannot be updated")
        }
    }))
}

/// Which manifest has a tag.
pub async fn holder(
    conn: &mut Conn,
    repository: &Repository,
    tag: &Tag,
) -> Result<Option<ArtifactId>> {
    conn.row(
        "SELECT artifact_id FROM tags WHERE repository_id = $1 AND name = $2",
        &[repository.id.into(), tag.as_str().into()],
        |row| Ok(ArtifactId(row.int(0)?)),
    )
    .await
}

/// Refuses when a tag of the manifest is immutable.
pub(crate) async fn check_deletable(
    tx: &mut Tx,
    repository: &Repository,
    artifact: ArtifactId,
) -> Result<()> {
    let rules = immutable::rules(tx, repository.project).await?;
    if rules.is_empty() {
        return Ok(());
    }
    let mut after = 0;
    loop {
        let found = tx
            .rows(
                "SELECT id, name FROM tags WHERE artifact_id = $1 AND id > $2 ORDER BY id LIMIT $3",
                &[artifact.into(), after.into(), CHECKED.into()],
                |row| Ok((row.int(0)?, row.text(1)?)),
            )
            .await?;
        for (_, name) in &found {
            check_rules(&rules, repository, name)?;
        }
        match found.last() {
            Some((last, _)) if found.len() as i64 == CHECKED => after = *last,
            _ => return Ok(()),
        }
    }
}

/// Tags of a repository or a manifest that are looked at in one query.
const CHECKED: i64 = 1000;

/// Refuses when a tag of the repository is immutable; to be asked before the first of its artifacts goes.
pub async fn check_all_deletable(conn: &mut Conn, repository: &Repository) -> Result<()> {
    let rules = immutable::rules(conn, repository.project).await?;
    let mut after = String::new();
    while !rules.is_empty() {
        let names = list(conn, repository.id, &after, CHECKED).await?;
        for name in &names {
            check_rules(&rules, repository, name)?;
        }
        match names.last() {
            Some(last) if names.len() as i64 == CHECKED => after.clone_from(last),
            _ => break,
        }
    }
    Ok(())
}

fn check_rules(rules: &Rules, repository: &Repository, tag: &str) -> Result<()> {
    if !rules.hold(&repository.name, tag) {
        return Ok(());
    }
    Err(Error::Precondition(format!(
        "the tag {tag} configured as immutable, cannot be deleted"
    )))
}

/// Removes one tag and nothing else, unless it is immutable; with `of` only while this artifact has it.
pub async fn delete(
    tx: &mut Tx,
    repository: &Repository,
    tag: &Tag,
    of: Option<ArtifactId>,
    bin: Option<&Bin>,
    now: Timestamp,
) -> Result<()> {
    let key = format!("{}:{tag}", repository.name);
    let named = &[repository.id.into(), tag.as_str().into()];
    // Before its tag, as everybody does: of two who take its last two tags one must see that.
    let sql = locking!(
        tx,
        "SELECT 1 FROM artifacts a WHERE a.id = (SELECT artifact_id FROM tags WHERE repository_id = $1 AND name = $2)",
        "FOR NO KEY UPDATE"
    );
    tx.exists(sql, named).await?;
    if let Some(bin) = bin {
        keep(tx, repository, tag, of, bin, now).await?;
    }
    let (digest, clock, artifact) = tx
        .row(
            "DELETE FROM tags WHERE repository_id = $1 AND name = $2 AND artifact_id = COALESCE($3, artifact_id)
             RETURNING digest, clock, artifact_id",
            &[named[0], named[1], of.map(|artifact| artifact.0).into()],
            |row| Ok((row.text(0)?, row.int(1)?, ArtifactId(row.int(2)?))),
        )
        .await?
        .ok_or_else(|| Error::not_found(What::Manifest, format!("artifact {key} not found")))?;
    let rules = immutable::rules(tx, repository.project).await?;
    check_rules(&rules, repository, tag.as_str())?;
    tx.touch(Touch::Repository(repository.id));
    artifacts::relist(tx, repository, &[artifact]).await?;
    let payload = json!({ "digest": digest });
    let change = changes::New {
        // Later than the tag itself, which another node's faster clock may have written.
        clock: Some(tx.tick_after(clock, now)),
        ..changes::New::of(Kind::TagDeleted, &key, Some(repository.project), &payload)
    };
    changes::append_new(tx, &change, now).await
}

/// Puts one tag into the trash before it goes.
async fn keep(
    tx: &mut Tx,
    repository: &Repository,
    tag: &Tag,
    of: Option<ArtifactId>,
    bin: &Bin,
    now: Timestamp,
) -> Result<()> {
    let sql = locking!(
        tx,
        "SELECT id, digest FROM tags WHERE repository_id = $1 AND name = $2 AND artifact_id = COALESCE($3, artifact_id)",
        "FOR UPDATE"
    );
    let values = &[
        repository.id.into(),
        tag.as_str().into(),
        of.map(|artifact| artifact.0).into(),
    ];
    let found = tx
        .row(sql, values, |row| Ok((row.int(0)?, row.parsed(1)?)))
        .await?;
    if let Some((id, digest)) = found {
        let list = json_numbers([id]);
        trash::keep_tags(tx, bin, repository, &digest, &list, now).await?;
    }
    Ok(())
}

/// Removes up to `limit` tags of a manifest that is about to go; answers how many went. Of them the audit tells nothing: it
/// tells of the manifest.
pub(crate) async fn delete_of(
    tx: &mut Tx,
    repository: &Repository,
    artifact: ArtifactId,
    digest: &Digest,
    bin: Option<&Bin>,
    limit: i64,
    now: Timestamp,
) -> Result<i64> {
    let sql = locking!(
        tx,
        "SELECT id, clock FROM tags WHERE artifact_id = $1 ORDER BY id LIMIT $2",
        "FOR UPDATE"
    );
    let going = tx
        .rows(sql, &[artifact.into(), limit.into()], |row| {
            Ok((row.int(0)?, row.int(1)?))
        })
        .await?;
    let Some(latest) = going.iter().map(|(_, clock)| *clock).max() else {
        return Ok(0);
    };
    let list = json_numbers(going.iter().map(|(id, _)| *id));
    if let Some(bin) = bin {
        trash::keep_tags(tx, bin, repository, digest, &list, now).await?;
    }
    // Later than each of them, as when one goes alone.
    let (clock, origin) = (tx.tick_after(latest, now), tx.node());
    let (kind, digest) = (Kind::TagDeleted.as_str(), digest.to_string());
    let payload = json!({ "digest": digest }).to_string();
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
