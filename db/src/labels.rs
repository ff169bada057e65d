//! Labels: marks for artifacts, of the system or of one project.

use model::{
    Error, Result, What,
    change::Kind,
    id::{ArtifactId, LabelId, ProjectId, new_uid},
    time::Timestamp,
};
use serde_json::json;

use crate::{
    Conn, Tx, changes,
    dialect::locking,
    errors, projects,
    query::{Field, Kind as Of, List, Within},
    value::Row,
};

#[derive(Debug, Clone)]
pub struct Label {
    pub id: LabelId,
    pub uid: String,
    /// None for a label of the system.
    pub project: Option<ProjectId>,
    pub name: String,
    pub description: String,
    /// `#RRGGBB`, or empty.
    pub color: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What people say of a label.
#[derive(Debug, Clone)]
pub struct Words {
    pub name: String,
    pub description: String,
    pub color: String,
}

pub(crate) fn read(row: &Row<'_>) -> Result<Label> {
    Ok(Label {
        id: LabelId(row.int(0)?),
        uid: row.text(1)?,
        project: row.opt_int(2)?.map(ProjectId),
        name: row.text(3)?,
        description: row.opt_text(4)?.unwrap_or_default(),
        color: row.opt_text(5)?.unwrap_or_default(),
        created_at: row.time(6)?,
        updated_at: row.time(7)?,
    })
}

/// Those of the system, or of a project: which of them is a `Within`.
pub static LIST: List<Label> = List {
    table: "labels l",
    always: "",
    joins: "",
    columns: &[
        "l.id",
        "l.uid",
        "l.project_id",
        "l.name",
        "l.description",
        "l.color",
        "l.created_at",
        "l.updated_at",
    ],
    read,
    id: "l.id",
    fields: &[
        Field::new(&["id", "ID"], "l.id", Of::Number)
            .indexed()
            .unique(),
        Field::new(&["name", "Name"], "l.name", Of::Text),
        Field::new(&["description", "Description"], "l.description", Of::Text).nullable(),
        Field::new(&["color", "Color"], "l.color", Of::Text).nullable(),
        Field::new(&["creation_time", "CreationTime"], "l.created_at", Of::Time),
        Field::new(&["update_time", "UpdateTime"], "l.updated_at", Of::Time),
    ],
    order: &[("id", false)],
};

/// Of the list: those of the system, or of a project.
pub fn of(project: Option<ProjectId>) -> Within {
    match project {
        None => Within::all().and("l.project_id IS NULL", []),
        Some(project) => Within::all().and("l.project_id = $1", [project.0.into()]),
    }
}

pub async fn find(conn: &mut Conn, id: LabelId) -> Result<Option<Label>> {
    conn.row(
        "SELECT id, uid, project_id, name, description, color, created_at, updated_at FROM labels WHERE id = $1",
        &[id.into()],
        read,
    )
    .await
}

pub async fn insert(
    tx: &mut Tx,
    project: Option<ProjectId>,
    words: &Words,
    now: Timestamp,
) -> Result<LabelId> {
    if let Some(project) = project {
        projects::hold(tx, project).await?;
    }
    let uid = new_uid();
    let id = tx
        .row(
            "INSERT INTO labels (uid, project_id, name, description, color, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $6)
             ON CONFLICT DO NOTHING
             RETURNING id",
            &[
                (&uid).into(),
                project.into(),
                (&words.name).into(),
                (&words.description).into(),
                (&words.color).into(),
                now.into(),
            ],
            |row| row.int(0),
        )
        .await?
        .ok_or_else(|| taken(&words.name))?;
    let payload = json!({ "uid": uid, "color": words.color });
    changes::append(tx, Kind::LabelCreated, &words.name, project, &payload, now).await?;
    Ok(LabelId(id))
}

pub async fn update(tx: &mut Tx, label: &Label, words: &Words, now: Timestamp) -> Result<()> {
    let updated = tx
        .execute(
            "UPDATE labels SET name = $2, description = $3, color = $4, updated_at = $5 WHERE id = $1",
            &[
                label.id.into(),
                (&words.name).into(),
                (&words.description).into(),
                (&words.color).into(),
                now.into(),
            ],
        )
        .await
        .map_err(|error| {
            if errors::is_taken(&error) {
                return taken(&words.name);
            }
            error
        })?;
    if updated == 0 {
        return Err(not_found(label.id));
    }
    let payload = json!({ "uid": label.uid, "before": label.name });
    changes::append(
        tx,
        Kind::LabelUpdated,
        &words.name,
        label.project,
        &payload,
        now,
    )
    .await
}

/// It goes from the artifacts that had it too.
pub async fn delete(tx: &mut Tx, label: &Label, now: Timestamp) -> Result<()> {
    let deleted = tx
        .execute("DELETE FROM labels WHERE id = $1", &[label.id.into()])
        .await?;
    if deleted == 0 {
        return Err(not_found(label.id));
    }
    let payload = json!({ "uid": label.uid });
    changes::append(
        tx,
        Kind::LabelDeleted,
        &label.name,
        label.project,
        &payload,
        now,
    )
    .await
}

/// Makes sure that the label stays until the transaction ends.
async fn hold(tx: &mut Tx, id: LabelId) -> Result<()> {
    let sql = locking!(tx, "SELECT 1 FROM labels WHERE id = $1", "FOR SHARE");
    if tx.exists(sql, &[id.into()]).await? {
        return Ok(());
    }
    Err(not_found(id))
}

/// Puts a label on an artifact, whose row is held; `key` names the artifact.
pub async fn add(
    tx: &mut Tx,
    label: &Label,
    artifact: ArtifactId,
    project: ProjectId,
    key: &str,
    now: Timestamp,
) -> Result<()> {
    hold(tx, label.id).await?;
    let added = tx
        .execute(
            "INSERT INTO artifact_labels (artifact_id, label_id, added_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            &[artifact.into(), label.id.into(), now.into()],
        )
        .await?;
    if added == 0 {
        return Err(Error::Conflict(format!(
            "label {} is already added to the artifact",
            label.id
        )));
    }
    let payload = json!({ "label": label.uid });
    changes::append(
        tx,
        Kind::ArtifactLabelAdded,
        key,
        Some(project),
        &payload,
        now,
    )
    .await
}

/// Takes a label from an artifact.
pub async fn remove(
    tx: &mut Tx,
    label: &Label,
    artifact: ArtifactId,
    project: ProjectId,
    key: &str,
    now: Timestamp,
) -> Result<()> {
    let removed = tx
        .execute(
            "DELETE FROM artifact_labels WHERE artifact_id = $1 AND label_id = $2",
            &[artifact.into(), label.id.into()],
        )
        .await?;
    if removed == 0 {
        return Err(Error::not_found(
            What::Label,
            format!("label {} is not on the artifact", label.id),
        ));
    }
    let payload = json!({ "label": label.uid });
    changes::append(
        tx,
        Kind::ArtifactLabelRemoved,
        key,
        Some(project),
        &payload,
        now,
    )
    .await
}

fn taken(name: &str) -> Error {
    Error::Conflict(format!("label {name} already exists"))
}

pub fn not_found(id: LabelId) -> Error {
    Error::not_found(What::Label, format!("label {id} not found"))
}
