//! Projects that were deleted and may come back. A project's row stays when it is deleted; what belonged to it goes, and waits here as
//! JSON, so that nothing of it can be found or used meanwhile.

use std::collections::BTreeMap;

use model::{Error, Result, What, change::Kind, id::ProjectId, time::Timestamp};
use serde_json::{Value, json};

use super::Bin;
use crate::{
    Conn, Tx, changes,
    dialect::locking,
    errors,
    generations::Touch,
    projects::{self, Project},
    query::{Field, Kind as Of, List},
    retention,
    value::Row,
};

/// The texts that take a table's rows of a project out and bring them in, for SQLite and PostgreSQL.
struct Belongings {
    table: &'static str,
    read: [&'static str; 2],
    write: [&'static str; 2],
}

/// Their first words stand apart: a test reads the texts of this crate, and these are none before they are put together.
///
/// Names a table, its rows of project $1, its columns, and which of them come back (`given`).
macro_rules! belongings {
    ($($table:literal, $of:literal, $wanted:literal: $first:literal $($column:literal)*;)+) => {
        /// In the order in which they may be brought in.
        static BELONGINGS: &[Belongings] = &[$(Belongings {
            table: $table,
            read: [
                concat!(
                    "SELECT", " json_object('", $first, "', ", $first, $(", '", $column, "', ", $column,)*
                    ") FROM ", $table, " WHERE ", $of
                ),
                concat!("SELECT", " CAST(row_to_json(", $table, ") AS TEXT) FROM ", $table, " WHERE ", $of, " FOR UPDATE"),
            ],
            write: [
                concat!(
                    "INSERT", " INTO ", $table, " (", $first, $(", ", $column,)* ") SELECT ", $first, $(", ", $column,)*
                    " FROM (SELECT value ->> '", $first, "' AS ", $first, $(", value ->> '", $column, "' AS ", $column,)*
                    " FROM json_each($1)) AS given WHERE ", $wanted
                ),
                concat!(
                    "INSERT", " INTO ", $table, " (", $first, $(", ", $column,)* ") SELECT ", $first, $(", ", $column,)*
                    " FROM json_populate_recordset(CAST(NULL AS ", $table, "), CAST($1 AS JSON)) AS given WHERE ", $wanted
                ),
            ],
        }),+];
    };
}

// Rights that robots of the system had in it do not come back: they may have been meant to end meanwhile.
belongings! {
    "project_metadata", "project_id = $1", "TRUE":
        "project_id" "name" "value" "updated_at";
    "members", "project_id = $1",
        "(user_id IS NULL OR EXISTS (SELECT 1 FROM users u WHERE u.id = given.user_id AND u.deleted_at IS NULL))
         AND (group_id IS NULL OR EXISTS (SELECT 1 FROM user_groups g WHERE g.id = given.group_id))":
        "id" "uid" "project_id" "user_id" "group_id" "role" "created_at" "updated_at";
    "robots", "project_id = $1", "TRUE":
        "id" "uid" "project_id" "name" "description" "secret" "disabled" "expires_at" "version" "duration" "creator_kind"
        "creator_id" "hidden" "created_at" "updated_at";
    "robot_permissions", "robot_id IN (SELECT id FROM robots WHERE project_id = $1)", "TRUE":
        "robot_id" "scope" "resource" "action";
    "quotas", "project_id = $1", "TRUE":
        "id" "project_id" "hard" "created_at" "updated_at";
    "cve_allowlists", "project_id = $1", "TRUE":
        "id" "project_id" "items" "expires_at" "created_at" "updated_at";
    "immutable_rules", "project_id = $1", "TRUE":
        "id" "uid" "project_id" "disabled" "rule" "digest" "created_at" "updated_at";
    "labels", "project_id = $1", "TRUE":
        "id" "uid" "project_id" "name" "description" "color" "created_at" "updated_at";
    "retention_policies", "project_id = $1", "TRUE":
        "id" "uid" "project_id" "policy" "created_at" "updated_at";
}

/// Before a project is deleted, in the same transaction. Rows are locked as they are read: whoever changes one meanwhile was before this
/// or finds it gone, so that nothing that was revoked comes back.
pub async fn keep(tx: &mut Tx, bin: &Bin, project: &Project, now: Timestamp) -> Result<()> {
    projects::lock(tx, project).await?;
    let engine = usize::from(tx.locks_rows());
    let mut kept: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for one in BELONGINGS {
        let rows = tx
            .rows(one.read[engine], &[project.id.into()], |row| {
                serde_json::from_str(&row.text(0)?)
                    .map_err(model::error::internal("reading a row as JSON"))
            })
            .await?;
        kept.insert(one.table, rows);
    }
    let (text, actor) = (json!(kept).to_string(), tx.actor());
    tx.execute(
        "INSERT INTO trashed_projects (project_id, name, belongings, deleted_by, deleted_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            project.id.into(),
            (&project.name).into(),
            (&text).into(),
            actor.name.as_str().into(),
            now.into(),
            bin.expires_at.into(),
        ],
    )
    .await
    .map(|_| ())
}

/// A project in the trash.
#[derive(Debug, Clone)]
pub struct TrashedProject {
    pub id: ProjectId,
    pub name: String,
    pub deleted_by: String,
    pub deleted_at: Timestamp,
    pub expires_at: Timestamp,
}

fn read(row: &Row<'_>) -> Result<TrashedProject> {
    Ok(TrashedProject {
        id: ProjectId(row.int(0)?),
        name: row.text(1)?,
        deleted_by: row.text(2)?,
        deleted_at: row.time(3)?,
        expires_at: row.time(4)?,
    })
}

/// The last that was deleted first.
pub static LIST: List<TrashedProject> = List {
    table: "trashed_projects t",
    always: "",
    joins: "",
    columns: &[
        "t.project_id",
        "t.name",
        "t.deleted_by",
        "t.deleted_at",
        "t.expires_at",
    ],
    read,
    id: "t.project_id",
    fields: &[
        Field::new(&["id"], "t.project_id", Of::Number).unique(),
        Field::new(&["name"], "t.name", Of::Text).indexed(),
        Field::new(&["deleted_by"], "t.deleted_by", Of::Text),
        Field::new(&["deleted_at"], "t.deleted_at", Of::Time).indexed(),
        Field::new(&["expires_at"], "t.expires_at", Of::Time),
    ],
    order: &[("deleted_at", true)],
};

/// The last of this name that was deleted.
pub async fn find_name(conn: &mut Conn, name: &str) -> Result<Option<TrashedProject>> {
    conn.row(
        "SELECT project_id, name, deleted_by, deleted_at, expires_at FROM trashed_projects
          WHERE name = $1
          ORDER BY deleted_at DESC, project_id DESC
          LIMIT 1",
        &[name.into()],
        read,
    )
    .await
}

pub fn not_found(project: &str) -> Error {
    Error::not_found(
        What::Trash,
        format!("there is no project {project} in the trash"),
    )
}

/// Brings a project back with its members, robots, labels, rules, quota and policies, as far as the people and groups are still there.
/// Its repositories come back one by one, see `super::restore_some`.
pub async fn restore(tx: &mut Tx, id: ProjectId, now: Timestamp) -> Result<()> {
    let kept = take(tx, id).await?;
    let project = find_deleted(tx, id).await?;
    let restored = tx
        .execute(
            "UPDATE projects SET deleted_at = NULL, updated_at = $2 WHERE id = $1",
            &[id.into(), now.into()],
        )
        .await;
    restored.map_err(|error| {
        if errors::is_taken(&error) {
            taken(&project.name)
        } else {
            error
        }
    })?;
    let mut kept: BTreeMap<String, Vec<Value>> = serde_json::from_str(&kept)
        .map_err(model::error::internal("reading a project in the trash"))?;
    let engine = usize::from(tx.locks_rows());
    for one in BELONGINGS {
        let rows = kept.remove(one.table).unwrap_or_default();
        if !rows.is_empty() {
            let text = Value::Array(rows).to_string();
            tx.execute(one.write[engine], &[(&text).into()]).await?;
        }
    }
    retention::begin_anew(tx, id, now).await?;
    tx.touch(Touch::Rights);
    let payload = json!({ "uid": project.uid });
    let (kind, name) = (Kind::ProjectRestored, &project.name);
    changes::append(tx, kind, name, Some(id), &payload, now).await
}

/// Ends a project because somebody wants it gone, and what was deleted from it.
pub async fn delete(tx: &mut Tx, id: ProjectId, now: Timestamp) -> Result<()> {
    take(tx, id).await?;
    let project = find_deleted(tx, id).await?;
    end_things(tx, id, now).await?;
    let payload = json!({ "uid": project.uid });
    let (kind, name) = (Kind::TrashDeleted, &project.name);
    changes::append(tx, kind, name, Some(id), &payload, now).await
}

/// What was deleted from a project that does not come back cannot either: its time is over.
pub async fn end_things(tx: &mut Tx, id: ProjectId, now: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE trash SET expires_at = $2 WHERE project_id = $1 AND expires_at > $2",
        &[id.into(), now.into()],
    )
    .await
    .map(|_| ())
}

/// Takes it out of the trash.
async fn take(tx: &mut Tx, id: ProjectId) -> Result<String> {
    let kept = tx
        .row(
            "DELETE FROM trashed_projects WHERE project_id = $1 RETURNING belongings",
            &[id.into()],
            |row| row.text(0),
        )
        .await?;
    kept.ok_or_else(|| not_found(&id.to_string()))
}

async fn find_deleted(tx: &mut Tx, id: ProjectId) -> Result<Deleted> {
    let sql = locking!(
        tx,
        "SELECT uid, name FROM projects WHERE id = $1",
        "FOR UPDATE"
    );
    tx.row(sql, &[id.into()], |row| {
        Ok(Deleted {
            uid: row.text(0)?,
            name: row.text(1)?,
        })
    })
    .await?
    .ok_or_else(|| not_found(&id.to_string()))
}

struct Deleted {
    uid: String,
    name: String,
}

fn taken(name: &str) -> Error {
    Error::Conflict(format!(
        "The project named {name} already exists: delete it first"
    ))
}

/// Ends up to `limit` projects whose time is over, and what was deleted from them; answers how many.
pub async fn expire_some(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64> {
    let gone = tx
        .rows(
            "DELETE FROM trashed_projects WHERE project_id IN
                 (SELECT project_id FROM trashed_projects WHERE expires_at <= $1 ORDER BY expires_at, project_id LIMIT $2)
             RETURNING project_id",
            &[now.into(), limit.into()],
            |row| Ok(ProjectId(row.int(0)?)),
        )
        .await?;
    for id in &gone {
        end_things(tx, *id, now).await?;
    }
    Ok(gone.len() as u64)
}
