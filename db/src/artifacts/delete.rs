//! Deleting a manifest with what goes with it, as Harbor does: its tags, its accessories and theirs, and manifests of an index
//! that have no tag and are in no other index. In steps when there is much: a step ends with whole manifests or some tags of one.
//!
//! Accessories go before what they are attached to, and manifests of an index after it: whatever step is the last one, what is
//! left can be seen and deleted.

use std::collections::{BTreeSet, HashSet};

use model::{Error, Result, What, change::Kind, id::ArtifactId, time::Timestamp};
use oci::digest::Digest;
use serde_json::json;

use super::{Artifact, find_parent, listed::count, relist};
use crate::{
    Conn, Tx, changes,
    dialect::locking,
    generations::Touch,
    immutable, links,
    repositories::Repository,
    tags,
    trash::{self, Bin},
};

/// Tags and manifests that one step takes, about.
const STEP: i64 = 500;
/// Accessories asked for at a time.
const ACCESSORIES: i64 = 100;

/// What was known of an artifact when it was judged. Times alone would not tell what came since: they are those at which a push began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// How many tags it had, and the sum of their numbers.
    pub tags: i64,
    pub tag_ids: i64,
    /// The latest of its own and its tags' times.
    pub pushed_at: Timestamp,
    pub pulled_at: Option<Timestamp>,
}

/// What is left to delete of a manifest and of what goes with it.
#[derive(Debug, Clone, Default)]
pub struct Deletion {
    /// The last goes first.
    left: Vec<Doomed>,
    /// All that were ever among them: what is attached to each other in a circle is met once.
    met: HashSet<ArtifactId>,
    wanted: Option<Digest>,
    /// Where it all goes; nowhere without.
    bin: Option<Bin>,
    spared: Option<Spared>,
    spent: i64,
    /// A step has taken some of the tags of the last one, which was judged: it has fewer since.
    has_begun: bool,
}

/// Why something stays that was judged to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spared {
    /// It has gone already.
    Missing,
    /// It was pushed, tagged or pulled since it was judged.
    Changed,
    /// One of its tags, or of what is attached to it, is immutable.
    Immutable,
    /// An index names it.
    Part,
}

#[derive(Debug, Clone)]
struct Doomed {
    id: ArtifactId,
    role: Role,
    /// The last of its accessories that was asked for.
    after: ArtifactId,
}

/// Why it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Somebody wants it: it must be there, and in no index.
    Wanted,
    /// It was judged as it was then: it goes unless something about it has changed since.
    Judged(Known),
    /// It goes with what it is attached to or stands in, unless it is part of an index.
    Dependent,
    /// It goes with its index, unless it has a tag or is in another.
    Part,
}

impl Deletion {
    pub fn of(artifact: &Artifact, bin: Option<Bin>) -> Self {
        let mut all = Self {
            wanted: Some(artifact.digest),
            bin,
            ..Self::default()
        };
        all.add(artifact.id, Role::Wanted);
        all
    }

    /// Of one that was judged to go, by what was known of it then.
    pub fn judged(artifact: ArtifactId, known: Known, bin: Option<Bin>) -> Self {
        let mut all = Self {
            bin,
            ..Self::default()
        };
        all.add(artifact, Role::Judged(known));
        all
    }

    /// Tags and manifests that the steps so far have taken, about.
    pub fn spent(&self) -> i64 {
        self.spent
    }

    /// Why the one that was judged stays; none when it goes.
    pub fn spared(&self) -> Option<Spared> {
        self.spared
    }

    /// Of artifacts that go with their repository.
    pub(crate) fn of_repository(artifacts: &[ArtifactId], bin: Option<Bin>) -> Self {
        let mut all = Self {
            bin,
            ..Self::default()
        };
        for artifact in artifacts {
            all.add(*artifact, Role::Dependent);
        }
        all
    }

    pub fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    fn add(&mut self, id: ArtifactId, role: Role) {
        if self.met.insert(id) {
            let after = ArtifactId(0);
            self.left.push(Doomed { id, role, after });
        }
    }
}

/// One step. What manifests named is asked about at `check_at`.
pub async fn delete_some(
    tx: &mut Tx,
    repository: &Repository,
    deletion: &mut Deletion,
    check_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let mut budget = STEP;
    while budget > 0
        && let Some(doomed) = deletion.left.last().cloned()
    {
        let children = lock_children(tx, doomed.id).await?;
        let Some(row) = lock(tx, doomed.id).await? else {
            deletion.missing(repository, &doomed)?;
            continue;
        };
        if let Role::Judged(known) = doomed.role
            && let Some(why) = spares(tx, repository, deletion, &row, known).await?
        {
            deletion.spared = Some(why);
            deletion.left.pop();
            continue;
        }
        if !goes(tx, &doomed, &row).await? {
            deletion.left.pop();
            continue;
        }
        tags::check_deletable(tx, repository, doomed.id).await?;
        if push_accessories(tx, repository, deletion, &row).await? {
            continue;
        }
        let bin = deletion.bin.as_ref();
        let tags = tags::delete_of(tx, repository, doomed.id, &row.digest, bin, budget, now);
        let taken = tags.await? + 1;
        budget -= taken;
        deletion.spent += taken;
        deletion.has_begun |= matches!(doomed.role, Role::Judged(_));
        if budget <= 0 {
            continue; // there may be more tags
        }
        if let Some(bin) = &deletion.bin {
            trash::keep_manifest(tx, bin, repository, doomed.id, &row.digest, now).await?;
        }
        deletion.left.pop();
        delete_row(tx, repository, &doomed, &row, check_at, now).await?;
        relist(tx, repository, &children).await?;
        for child in children {
            deletion.add(child, Role::Part);
        }
    }
    Ok(())
}

impl Deletion {
    /// The last one is not there any more.
    fn missing(&mut self, repository: &Repository, doomed: &Doomed) -> Result<()> {
        match (doomed.role, &self.wanted) {
            (Role::Wanted, Some(digest)) => {
                let key = format!("{}@{digest}", repository.name);
                return Err(Error::not_found(
                    What::Manifest,
                    format!("artifact {key} not found"),
                ));
            }
            (Role::Judged(_), _) => self.spared = Some(Spared::Missing),
            _ => {}
        }
        self.left.pop();
        Ok(())
    }
}

/// Whether the last one, which was judged, stays after all, now that it is locked.
async fn spares(
    tx: &mut Tx,
    repository: &Repository,
    deletion: &Deletion,
    row: &Row,
    known: Known,
) -> Result<Option<Spared>> {
    let Some(doomed) = deletion.left.last() else {
        return Ok(None);
    };
    if find_parent(tx, doomed.id).await?.is_some() {
        return Ok(Some(Spared::Part));
    }
    let now = know(tx, doomed.id).await?;
    let is_later = now.pushed_at > known.pushed_at || now.pulled_at > known.pulled_at;
    let has_other_tags = (now.tags, now.tag_ids) != (known.tags, known.tag_ids);
    if is_later || (has_other_tags && !deletion.has_begun) {
        return Ok(Some(Spared::Changed));
    }
    if immutable::rules(tx, repository.project).await?.is_empty() {
        return Ok(None);
    }
    for artifact in dependents(tx, repository, doomed.id, &row.digest).await? {
        match tags::check_deletable(tx, repository, artifact).await {
            Err(Error::Precondition(_)) => return Ok(Some(Spared::Immutable)),
            checked => checked?,
        }
    }
    Ok(None)
}

/// What is known of an artifact now.
async fn know(tx: &mut Tx, id: ArtifactId) -> Result<Known> {
    let known = tx
        .row(
            "SELECT a.pushed_at, a.pulled_at, COUNT(t.id), CAST(COALESCE(SUM(t.id), 0) AS BIGINT), MAX(t.pushed_at), MAX(t.pulled_at)
               FROM artifacts a
               LEFT JOIN tags t ON t.artifact_id = a.id
              WHERE a.id = $1
              GROUP BY a.id, a.pushed_at, a.pulled_at",
            &[id.into()],
            |row| {
                let (pushed, tagged) = (row.time(0)?, row.opt_time(4)?);
                Ok(Known {
                    tags: row.int(2)?,
                    tag_ids: row.int(3)?,
                    pushed_at: tagged.map_or(pushed, |tagged| tagged.max(pushed)),
                    pulled_at: row.opt_time(1)?.max(row.opt_time(5)?),
                })
            },
        )
        .await?;
    known.ok_or_else(|| Error::Internal(anyhow::anyhow!("an artifact went under its lock")))
}

/// All that may go with an artifact: what is attached to it or to a part of it, however far down, and itself.
async fn dependents(
    tx: &mut Tx,
    repository: &Repository,
    id: ArtifactId,
    digest: &Digest,
) -> Result<BTreeSet<ArtifactId>> {
    let (mut all, mut open) = (BTreeSet::from([id]), vec![(id, digest.to_string())]);
    while let Some((id, digest)) = open.pop() {
        let further = tx
            .rows(
                "SELECT id, digest FROM artifacts WHERE repository_id = $1 AND accessory_of = $2
                  UNION ALL
                 SELECT a.id, a.digest FROM artifact_children c JOIN artifacts a ON a.id = c.child_id
                  WHERE c.parent_id = $3 AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.artifact_id = a.id)
                  LIMIT 10000",
                &[repository.id.into(), (&digest).into(), id.into()],
                |row| Ok((ArtifactId(row.int(0)?), row.text(1)?)),
            )
            .await?;
        for (id, digest) in further {
            if all.insert(id) {
                open.push((id, digest));
            }
        }
    }
    Ok(all)
}

struct Row {
    digest: Digest,
    is_listed: bool,
}

/// Whoever tags it or names it in an index holds it: that is over now, or waits until this has happened.
async fn lock(tx: &mut Tx, id: ArtifactId) -> Result<Option<Row>> {
    let sql = locking!(
        tx,
        "SELECT digest, listed FROM artifacts WHERE id = $1",
        "FOR UPDATE"
    );
    tx.row(sql, &[id.into()], |row| {
        Ok(Row {
            digest: row.parsed(0)?,
            is_listed: row.bool(1)?,
        })
    })
    .await
}

/// Before their index, as a push of it does.
async fn lock_children(tx: &mut Tx, parent: ArtifactId) -> Result<Vec<ArtifactId>> {
    let sql = locking!(
        tx,
        "SELECT a.id FROM artifact_children c JOIN artifacts a ON a.id = c.child_id WHERE c.parent_id = $1 ORDER BY a.digest",
        "FOR UPDATE OF a"
    );
    tx.rows(sql, &[parent.into()], |row| Ok(ArtifactId(row.int(0)?)))
        .await
}

/// Whether a manifest that is locked may go. One that somebody wants and that is part of an index is refused.
async fn goes(tx: &mut Tx, doomed: &Doomed, row: &Row) -> Result<bool> {
    let parent = find_parent(tx, doomed.id).await?;
    match (doomed.role, parent) {
        (Role::Wanted, Some(parent)) => Err(Error::Precondition(format!(
            "`{}` is part of the index `{parent}` in this repository: delete the index first",
            row.digest
        ))),
        (Role::Wanted | Role::Judged(_) | Role::Dependent, None) => Ok(true),
        (Role::Dependent | Role::Part | Role::Judged(_), Some(_)) => Ok(false),
        (Role::Part, None) => Ok(!is_tagged(tx, doomed.id).await?),
    }
}

async fn is_tagged(conn: &mut Conn, id: ArtifactId) -> Result<bool> {
    conn.exists(
        "SELECT 1 FROM tags WHERE artifact_id = $1 LIMIT 1",
        &[id.into()],
    )
    .await
}

/// Puts what is attached to the last one before it; false when there is nothing more.
async fn push_accessories(
    tx: &mut Tx,
    repository: &Repository,
    deletion: &mut Deletion,
    row: &Row,
) -> Result<bool> {
    let Some(doomed) = deletion.left.last_mut() else {
        return Ok(false);
    };
    let digest = row.digest.to_string();
    let found = tx
        .rows(
            "SELECT id FROM artifacts WHERE repository_id = $1 AND accessory_of = $2 AND id > $3 ORDER BY id LIMIT $4",
            &[
                repository.id.into(),
                (&digest).into(),
                doomed.after.into(),
                ACCESSORIES.into(),
            ],
            |row| Ok(ArtifactId(row.int(0)?)),
        )
        .await?;
    let Some(last) = found.last() else {
        return Ok(false);
    };
    doomed.after = *last;
    for accessory in found {
        deletion.add(accessory, Role::Dependent);
    }
    Ok(true)
}

async fn delete_row(
    tx: &mut Tx,
    repository: &Repository,
    doomed: &Doomed,
    row: &Row,
    check_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    links::release(tx, repository, doomed.id, check_at, now).await?;
    tx.execute("DELETE FROM artifacts WHERE id = $1", &[doomed.id.into()])
        .await?;
    if row.is_listed {
        count(tx, repository, -1);
    }
    tx.touch(Touch::Repository(repository.id));
    let key = format!("{}@{}", repository.name, row.digest);
    let (kind, project) = (Kind::ArtifactDeleted, Some(repository.project));
    changes::append(tx, kind, &key, project, &json!({}), now).await
}
