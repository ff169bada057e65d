//! What a project's metadata says, a row a key. The key `public` is kept in the project's row instead, since every request asks for it.

use std::collections::HashMap;

use model::{
    Result,
    change::Kind,
    id::ProjectId,
    metadata::{self, Metadata, PUBLIC},
    time::Timestamp,
};
use serde_json::json;

use crate::{
    Conn, Tx, changes,
    dialect::with_numbers,
    generations::Touch,
    projects::{self, Project},
};

/// Of these projects, those that have any; without the key `public`.
pub async fn of_all(conn: &mut Conn, projects: &[ProjectId]) -> Result<HashMap<i64, Metadata>> {
    let ids = json!(projects).to_string();
    let sql = with_numbers!(
        conn,
        "SELECT project_id, name, value FROM project_metadata WHERE project_id IN",
        "$1",
        "ORDER BY project_id, name LIMIT 100000"
    );
    let rows = conn
        .rows(sql, &[(&ids).into()], |row| {
            Ok((row.int(0)?, row.text(1)?, row.text(2)?))
        })
        .await?;
    let mut all: HashMap<i64, Metadata> = HashMap::new();
    for (project, name, value) in rows {
        all.entry(project).or_default().insert(name, value);
    }
    Ok(all)
}

/// All of it, with the key `public`.
pub async fn of(conn: &mut Conn, project: &Project) -> Result<Metadata> {
    let found = of_all(conn, &[project.id]).await?.remove(&project.id.0);
    let mut metadata = found.unwrap_or_default();
    metadata.insert(PUBLIC.to_owned(), project.public.to_string());
    Ok(metadata)
}

/// Sets these keys and leaves the others as they are.
pub async fn set(tx: &mut Tx, project: &Project, wanted: &Metadata, now: Timestamp) -> Result<()> {
    projects::lock(tx, project).await?;
    for (name, value) in wanted.iter().filter(|(name, _)| *name != PUBLIC) {
        tx.execute(
            "INSERT INTO project_metadata (project_id, name, value, updated_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (project_id, name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
            &[project.id.into(), name.into(), value.into(), now.into()],
        )
        .await?;
    }
    let public = wanted.get(PUBLIC).map(|value| value == "true");
    bring_in_line(tx, project, public, now).await?;
    tell(tx, project, &json!(wanted), now).await
}

/// Forgets a key. A project without the key `public` is private.
pub async fn remove(tx: &mut Tx, project: &Project, name: &str, now: Timestamp) -> Result<()> {
    projects::lock(tx, project).await?;
    tx.execute(
        "DELETE FROM project_metadata WHERE project_id = $1 AND name = $2",
        &[project.id.into(), name.into()],
    )
    .await?;
    let public = (name == PUBLIC).then_some(false);
    bring_in_line(tx, project, public, now).await?;
    tell(tx, project, &json!({ name: null }), now).await
}

/// The project's row says the same in its own columns.
async fn bring_in_line(
    tx: &mut Tx,
    project: &Project,
    public: Option<bool>,
    now: Timestamp,
) -> Result<()> {
    let trust = metadata::trust(&of(tx, project).await?);
    tx.execute(
        "UPDATE projects SET trust = $2, updated_at = $3 WHERE id = $1",
        &[project.id.into(), trust.into(), now.into()],
    )
    .await?;
    if let Some(public) = public {
        tx.execute(
            "UPDATE projects SET public = $2 WHERE id = $1",
            &[project.id.into(), public.into()],
        )
        .await?;
    }
    tx.touch(Touch::Rights);
    Ok(())
}

async fn tell(
    tx: &mut Tx,
    project: &Project,
    changed: &serde_json::Value,
    now: Timestamp,
) -> Result<()> {
    let payload = json!({ "uid": project.uid, "metadata": changed });
    let (kind, name) = (Kind::ProjectMetadataSet, &project.name);
    changes::append(tx, kind, name, Some(project.id), &payload, now).await
}
