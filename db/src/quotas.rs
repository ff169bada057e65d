//! How many bytes a project may use. A content counts once, while some repository of the project counts it: see `links`. Where
//! there is a limit, whoever adds holds its row until he has committed, so that it is never exceeded.

mod recount;

use model::{
    Error, Result, What,
    change::Kind,
    id::{ProjectId, QuotaId},
    time::Timestamp,
};
use serde_json::json;

use crate::{
    Conn, Tx, changes,
    counters::{self, Counter},
    projects::Project,
    value::Row,
};

pub use recount::{Recounted, find_miscounted, recount};

/// No limit.
pub const UNLIMITED: i64 = -1;

#[derive(Debug, Clone)]
pub struct Quota {
    pub id: QuotaId,
    pub project: ProjectId,
    /// Bytes, or [`UNLIMITED`].
    pub hard: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

fn read(row: &Row<'_>) -> Result<Quota> {
    Ok(Quota {
        id: QuotaId(row.int(0)?),
        project: ProjectId(row.int(1)?),
        hard: row.int(2)?,
        created_at: row.time(3)?,
        updated_at: row.time(4)?,
    })
}

pub async fn get(conn: &mut Conn, id: QuotaId) -> Result<Quota> {
    conn.row(
        "SELECT id, project_id, hard, created_at, updated_at FROM quotas WHERE id = $1",
        &[id.into()],
        read,
    )
    .await?
    .ok_or_else(|| Error::not_found(What::Quota, format!("quota {id} not found")))
}

pub async fn find(conn: &mut Conn, project: ProjectId) -> Result<Option<Quota>> {
    conn.row(
        "SELECT id, project_id, hard, created_at, updated_at FROM quotas WHERE project_id = $1",
        &[project.into()],
        read,
    )
    .await
}

pub(crate) async fn insert(
    tx: &mut Tx,
    project: ProjectId,
    hard: i64,
    now: Timestamp,
) -> Result<()> {
    tx.execute(
        "INSERT INTO quotas (project_id, hard, created_at, updated_at) VALUES ($1, $2, $3, $3)",
        &[project.into(), hard.into(), now.into()],
    )
    .await
    .map(|_| ())
}

/// Sets another limit; one below what is used stops what would add.
pub async fn set_hard(tx: &mut Tx, project: &Project, hard: i64, now: Timestamp) -> Result<()> {
    let updated = tx
        .execute(
            "UPDATE quotas SET hard = $2, updated_at = $3 WHERE project_id = $1",
            &[project.id.into(), hard.into(), now.into()],
        )
        .await?;
    if updated == 0 {
        return Err(Error::not_found(
            What::Quota,
            format!("project `{}` has no quota", project.name),
        ));
    }
    let (kind, payload) = (Kind::QuotaUpdated, json!({ "hard": hard }));
    changes::append(tx, kind, &project.name, Some(project.id), &payload, now).await
}

/// Bytes in use, as committed.
pub async fn usage(conn: &mut Conn, project: ProjectId) -> Result<u64> {
    let used = counters::value(conn, Counter::ProjectBytes(project)).await?;
    Ok(used.max(0).unsigned_abs())
}

/// Refuses what would exceed the limit as things stand, before its bytes come; with 0 only what is over it already. The
/// transaction that adds asks again, under a lock. Whether quotas are switched off is the caller's question.
pub async fn check(conn: &mut Conn, project: ProjectId, adding: u64) -> Result<()> {
    let limit = conn
        .row(
            "SELECT hard FROM quotas WHERE project_id = $1 AND hard >= 0",
            &[project.into()],
            |row| row.int(0),
        )
        .await?;
    let Some(hard) = limit else { return Ok(()) };
    let used = counters::value(conn, Counter::ProjectBytes(project)).await?;
    refuse_over(hard, used, adding.min(i64::MAX as u64) as i64)
}

/// The same under the lock of the quota's row.
pub(crate) async fn check_locked(tx: &mut Tx, project: i64, hard: i64, adding: i64) -> Result<()> {
    let used = counters::value(tx, Counter::ProjectBytes(ProjectId(project))).await?;
    refuse_over(hard, used, adding)
}

fn refuse_over(hard: i64, used: i64, adding: i64) -> Result<()> {
    if used.saturating_add(adding) <= hard {
        return Ok(());
    }
    Err(Error::QuotaExceeded(format!(
        "adding {} of storage resource, which when updated to current usage of {} will exceed the configured upper limit of {}.",
        in_units(adding),
        in_units(used),
        in_units(hard)
    )))
}

/// As Harbor writes sizes: `1.0 MiB`.
fn in_units(bytes: i64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut amount, mut unit) = (bytes as f64, 0);
    while amount >= 1024.0 && unit < 6 {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}iB", ["", "K", "M", "G", "T", "P", "E"][unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_harbors() {
        const MIB: i64 = 1 << 20;
        let refused = refuse_over(10 * MIB, 19 * MIB / 2, MIB).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "adding 1.0 MiB of storage resource, which when updated to current usage of 9.5 MiB will exceed the configured upper limit of 10.0 MiB."
        );
        assert!(refuse_over(10 * MIB, 9 * MIB, MIB).is_ok());
        assert!(refuse_over(10, 11, 0).is_err());
    }

    #[test]
    fn sizes_have_harbors_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1 << 30, "1.0 GiB"),
            (1 << 50, "1.0 PiB"),
        ] {
            assert_eq!(in_units(bytes), text);
        }
    }
}
