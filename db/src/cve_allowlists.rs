//! Vulnerabilities that do not count: of the system, and of projects. One that nobody wrote yet has no row.

use std::collections::HashMap;

use model::{Result, change::Kind, error::internal, id::ProjectId, time::Timestamp};
use serde_json::json;

use crate::{
    Conn, Tx, changes,
    dialect::with_numbers,
    generations::Touch,
    projects::{self, Project},
    value::Row,
};

/// The system's list stands under this number.
const SYSTEM: i64 = 0;

#[derive(Debug, Clone)]
pub struct CveAllowlist {
    pub id: i64,
    pub project: i64,
    /// Ids of vulnerabilities.
    pub items: Vec<String>,
    /// Seconds since 1970; none for ever.
    pub expires_at: Option<i64>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

fn read(row: &Row<'_>) -> Result<CveAllowlist> {
    Ok(CveAllowlist {
        id: row.int(0)?,
        project: row.int(1)?,
        items: serde_json::from_str(&row.text(2)?).map_err(internal("an allowlist's items"))?,
        expires_at: row.opt_int(3)?,
        created_at: row.time(4)?,
        updated_at: row.time(5)?,
    })
}

/// Of these projects, those that have one.
pub async fn of_all(conn: &mut Conn, projects: &[ProjectId]) -> Result<HashMap<i64, CveAllowlist>> {
    let ids = json!(projects).to_string();
    let sql = with_numbers!(
        conn,
        "SELECT id, project_id, items, expires_at, created_at, updated_at FROM cve_allowlists WHERE project_id IN",
        "$1",
        "ORDER BY project_id LIMIT 100000"
    );
    let rows = conn.rows(sql, &[(&ids).into()], read).await?;
    Ok(rows.into_iter().map(|list| (list.project, list)).collect())
}

pub async fn of_system(conn: &mut Conn) -> Result<Option<CveAllowlist>> {
    Ok(of_all(conn, &[ProjectId(SYSTEM)]).await?.remove(&SYSTEM))
}

pub async fn set_of_system(
    tx: &mut Tx,
    items: &[String],
    expires_at: Option<i64>,
    now: Timestamp,
) -> Result<()> {
    put(tx, SYSTEM, items, expires_at, now).await?;
    let payload = json!({ "items": items, "expires_at": expires_at });
    changes::append(tx, Kind::AllowlistSet, "system", None, &payload, now).await
}

pub async fn set(
    tx: &mut Tx,
    project: &Project,
    items: &[String],
    expires_at: Option<i64>,
    now: Timestamp,
) -> Result<()> {
    projects::lock(tx, project).await?;
    put(tx, project.id.0, items, expires_at, now).await?;
    let list = json!({ "items": items, "expires_at": expires_at });
    let payload = json!({ "uid": project.uid, "cve_allowlist": list });
    let (kind, name) = (Kind::AllowlistSet, &project.name);
    changes::append(tx, kind, name, Some(project.id), &payload, now).await
}

async fn put(
    tx: &mut Tx,
    project: i64,
    items: &[String],
    expires_at: Option<i64>,
    now: Timestamp,
) -> Result<()> {
    let items = json!(items).to_string();
    tx.execute(
        "INSERT INTO cve_allowlists (project_id, items, expires_at, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $4)
         ON CONFLICT (project_id) DO UPDATE SET items = excluded.items, expires_at = excluded.expires_at,
             updated_at = excluded.updated_at",
        &[project.into(), (&items).into(), expires_at.into(), now.into()],
    )
    .await?;
    tx.touch(Touch::Rights);
    Ok(())
}
