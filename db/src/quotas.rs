//! How many bytes a project may use. A content counts once, while some repository of the project counts it: see `links`. Where
//! there is a limit, whoever adds holds its row until he has committed, so that it is never exceeded.

use model::{
    Error, Result, What,
    change::Kind,
    id::{ProjectId, QuotaId},
    time::Timestamp,
};
use oci::digest::Digest;
use serde_json::json;

use crate::{
    Conn, Tx, changes,
    counters::{self, Counter},
    generations::Touch,
    query::{Field, Kind as Of, List, Within},
    value::Row,
};

/// No limit.
pub const UNLIMITED: i64 = -1;

#[derive(Debug, Clone)]
pub struct Quota {
    pub id: QuotaId,
    pub project: ProjectId,
    pub project_name: String,
    /// None when the project's owner was deleted.
    pub owner_name: Option<String>,
    /// Bytes, or [`UNLIMITED`].
    pub hard: i64,
    /// Bytes in use, as committed.
    pub used: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

fn read(row: &Row<'_>) -> Result<Quota> {
    Ok(Quota {
        id: QuotaId(row.int(0)?),
        project: ProjectId(row.int(1)?),
        project_name: row.text(2)?,
        owner_name: row.opt_text(3)?,
        hard: row.int(4)?,
        used: row.int(5)?.max(0),
        created_at: row.time(6)?,
        updated_at: row.time(7)?,
    })
}

/// Those of all projects.
pub static LIST: List<Quota> = List {
    table: "quotas q",
    always: "",
    joins: " JOIN projects p ON p.id = q.project_id LEFT JOIN users o ON o.id = p.owner_id AND o.deleted_at IS NULL",
    columns: &[
        "q.id",
        "q.project_id",
        "p.name",
        "o.name",
        "q.hard",
        USED,
        "q.created_at",
        "q.updated_at",
    ],
    read,
    id: "q.id",
    fields: &[
        Field::new(&["id", "ID"], "q.id", Of::Number)
            .indexed()
            .unique(),
        Field::new(&["hard.storage"], "q.hard", Of::Number),
        Field::new(&["used.storage"], USED, Of::Number),
        Field::new(&["creation_time", "CreationTime"], "q.created_at", Of::Time),
        Field::new(&["update_time", "UpdateTime"], "q.updated_at", Of::Time),
    ],
    order: &[("id", false)],
};

const USED: &str = "(SELECT CAST(COALESCE(SUM(c.n), 0) AS BIGINT) FROM counters c WHERE c.name = 'project.bytes' AND c.id = q.project_id)";

/// Of the list: a project's alone.
pub fn of(project: ProjectId) -> Within {
    Within::all().and("q.project_id = $1", [project.0.into()])
}

pub async fn get(conn: &mut Conn, id: QuotaId) -> Result<Quota> {
    conn.row(
        "SELECT q.id, q.project_id, p.name, o.name, q.hard,
                (SELECT CAST(COALESCE(SUM(c.n), 0) AS BIGINT) FROM counters c WHERE c.name = 'project.bytes' AND c.id = q.project_id),
                q.created_at, q.updated_at
           FROM quotas q
           JOIN projects p ON p.id = q.project_id
           LEFT JOIN users o ON o.id = p.owner_id AND o.deleted_at IS NULL
          WHERE q.id = $1",
        &[id.into()],
        read,
    )
    .await?
    .ok_or_else(|| not_found(id))
}

/// A project's, when it has one.
pub async fn find(conn: &mut Conn, project: ProjectId) -> Result<Option<Quota>> {
    conn.row(
        "SELECT q.id, q.project_id, p.name, o.name, q.hard,
                (SELECT CAST(COALESCE(SUM(c.n), 0) AS BIGINT) FROM counters c WHERE c.name = 'project.bytes' AND c.id = q.project_id),
                q.created_at, q.updated_at
           FROM quotas q
           JOIN projects p ON p.id = q.project_id
           LEFT JOIN users o ON o.id = p.owner_id AND o.deleted_at IS NULL
          WHERE q.project_id = $1",
        &[project.into()],
        read,
    )
    .await
}

fn not_found(id: QuotaId) -> Error {
    Error::not_found(What::Quota, format!("quota {id} not found"))
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
pub async fn set_hard(tx: &mut Tx, quota: &Quota, hard: i64, now: Timestamp) -> Result<()> {
    let updated = tx
        .execute(
            "UPDATE quotas SET hard = $2, updated_at = $3 WHERE id = $1",
            &[quota.id.into(), hard.into(), now.into()],
        )
        .await?;
    if updated == 0 {
        return Err(not_found(quota.id));
    }
    // Whether a project has a limit is remembered with what callers may do there.
    tx.touch(Touch::Rights);
    let payload = json!({ "hard": hard });
    changes::append(
        tx,
        Kind::QuotaUpdated,
        &quota.project_name,
        Some(quota.project),
        &payload,
        now,
    )
    .await
}

/// Bytes in use, as committed.
pub async fn usage(conn: &mut Conn, project: ProjectId) -> Result<u64> {
    let used = counters::value(conn, Counter::ProjectBytes(project)).await?;
    Ok(used.max(0).unsigned_abs())
}

/// Refuses what would exceed the limit as things stand, before its bytes come; with 0 only what is over it already. What the
/// project uses already adds nothing: `digest` says what it is, where that is known. The transaction that adds asks again,
/// under a lock. Whether quotas are switched off is the caller's question.
pub async fn check(
    conn: &mut Conn,
    project: ProjectId,
    adding: u64,
    digest: Option<&Digest>,
) -> Result<()> {
    let found = conn
        .row(
            "SELECT q.hard,
                    (SELECT CAST(COALESCE(SUM(c.n), 0) AS BIGINT) FROM counters c WHERE c.name = 'project.bytes' AND c.id = q.project_id)
               FROM quotas q
              WHERE q.project_id = $1 AND q.hard >= 0",
            &[project.into()],
            |row| Ok((row.int(0)?, row.int(1)?)),
        )
        .await?;
    let Some((hard, used)) = found else {
        return Ok(());
    };
    let refused = refuse_over(hard, used, adding.min(i64::MAX as u64) as i64);
    match digest {
        Some(digest) if refused.is_err() && uses(conn, project, digest).await? => Ok(()),
        _ => refused,
    }
}

/// Whether the project uses this content already.
async fn uses(conn: &mut Conn, project: ProjectId, digest: &Digest) -> Result<bool> {
    let digest = digest.to_string();
    conn.exists(
        "SELECT 1 FROM project_blobs WHERE project_id = $1 AND blob_id IN (SELECT id FROM blobs WHERE digest = $2) AND links > 0",
        &[project.into(), (&digest).into()],
    )
    .await
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
