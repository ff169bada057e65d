//! Totals that would cost too much to count. A transaction collects what it adds; just before it commits, the sums are written
//! in one order, so that writers at once neither wait long nor for each other. A counter has several rows (slots), and each
//! connection its own.

mod settle;

use std::collections::BTreeMap;

use model::{
    Result,
    id::{ArtifactId, BlobId, ProjectId, RepositoryId},
};

use crate::{Conn, Tx, blobs::json_numbers, dialect::with_numbers};
pub(crate) use settle::{FLUSH, Flush, settle};

/// How many rows a counter has on PostgreSQL; SQLite has one writer.
pub(crate) const SLOTS: usize = 16;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    ProjectRepositories(ProjectId),
    /// Those that are listed: see `artifacts`.
    ProjectArtifacts(ProjectId),
    /// What uses the project's quota: see `links`.
    ProjectBytes(ProjectId),
    RepositoryArtifacts(RepositoryId),
    /// Rows of the audit that are shown: all, or those that concern a project.
    Audit(Option<ProjectId>),
}

impl Counter {
    pub(crate) const BYTES: &'static str = "project.bytes";

    pub(crate) fn key(self) -> (&'static str, i64) {
        match self {
            Self::ProjectRepositories(id) => ("project.repositories", id.0),
            Self::ProjectArtifacts(id) => ("project.artifacts", id.0),
            Self::ProjectBytes(id) => (Self::BYTES, id.0),
            Self::RepositoryArtifacts(id) => ("repository.artifacts", id.0),
            Self::Audit(project) => ("audit", project.map_or(0, |project| project.0)),
        }
    }
}

/// What a transaction has to add when it commits, and what it knows by then.
#[derive(Default)]
pub(crate) struct Pending {
    sums: BTreeMap<(&'static str, i64), i64>,
    /// By project and content: how many more of the project's repositories count it.
    links: BTreeMap<(i64, i64), i64>,
    /// Bytes that are charged against the quota, not merely counted.
    charged: BTreeMap<i64, i64>,
    /// Limits that were read beside something else; -1 for none.
    limits: BTreeMap<i64, i64>,
    /// Artifacts that lists are known to show, whether they have a tag or not.
    listed: Vec<ArtifactId>,
    /// Counters that end.
    dropped: Vec<(&'static str, i64)>,
}

impl Pending {
    pub fn count(&mut self, counter: Counter, delta: i64) {
        *self.sums.entry(counter.key()).or_default() += delta;
    }

    pub fn charge(&mut self, project: ProjectId, bytes: i64) {
        *self.charged.entry(project.0).or_default() += bytes;
    }

    pub fn link(&mut self, project: ProjectId, blob: BlobId, delta: i64) {
        *self.links.entry((project.0, blob.0)).or_default() += delta;
    }

    pub fn limit(&mut self, project: ProjectId, hard: i64) {
        self.limits.insert(project.0, hard);
    }

    pub fn set_listed(&mut self, artifact: ArtifactId) {
        self.listed.push(artifact);
    }

    pub fn is_listed(&self, artifact: ArtifactId) -> bool {
        self.listed.contains(&artifact)
    }

    pub fn drop(&mut self, counter: Counter) {
        self.dropped.push(counter.key());
    }

    fn is_empty(&self) -> bool {
        self.sums.is_empty()
            && self.links.is_empty()
            && self.charged.is_empty()
            && self.dropped.is_empty()
    }
}

/// The value of a counter, as it was committed.
pub async fn value(conn: &mut Conn, counter: Counter) -> Result<i64> {
    let (name, id) = counter.key();
    let sum = conn
        .row(
            "SELECT CAST(COALESCE(SUM(n), 0) AS BIGINT) FROM counters WHERE name = $1 AND id = $2",
            &[name.into(), id.into()],
            |row| row.int(0),
        )
        .await?;
    Ok(sum.unwrap_or(0))
}

/// The sum of one counter over all projects or repositories.
pub async fn sum(conn: &mut Conn, of: fn(i64) -> Counter) -> Result<i64> {
    let sum = conn
        .row(
            "SELECT CAST(COALESCE(SUM(n), 0) AS BIGINT) FROM counters WHERE name = $1",
            &[of(0).key().0.into()],
            |row| row.int(0),
        )
        .await?;
    Ok(sum.unwrap_or(0))
}

/// The values of one counter of many projects or repositories, by their numbers; those that are 0 may be absent.
pub async fn values(
    conn: &mut Conn,
    of: fn(i64) -> Counter,
    ids: &[i64],
) -> Result<BTreeMap<i64, i64>> {
    let (name, list) = (of(0).key().0, json_numbers(ids.iter().copied()));
    let sql = with_numbers!(
        conn,
        "SELECT id, CAST(SUM(n) AS BIGINT) FROM counters WHERE name = $2 AND id IN",
        "$1",
        "GROUP BY id ORDER BY id"
    );
    let rows = conn
        .rows(sql, &[(&list).into(), name.into()], |row| {
            Ok((row.int(0)?, row.int(1)?))
        })
        .await?;
    Ok(rows.into_iter().collect())
}

impl Tx {
    /// Adds to a counter when this commits.
    pub fn count(&mut self, counter: Counter, delta: i64) {
        self.pending.count(counter, delta);
    }

    /// Charges a project's quota when this commits, or gives back. Contents charge themselves: see `links`.
    pub fn use_bytes(&mut self, project: ProjectId, bytes: i64) {
        self.pending.charge(project, bytes);
    }
}
