//! Rules of projects that say which tags are immutable. They are read in the transaction that moves or deletes a tag.

use model::{
    Error, Result, What,
    change::Kind,
    id::{ProjectId, RuleId, new_uid},
    immutable::{Rule, protects},
    time::Timestamp,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    Conn, Tx, changes,
    projects::{self, Project},
    query::{Field, Kind as Of, List, Within},
    value::Row,
};

/// Rules that one project may have: each push of a tag looks at all of them.
pub const MOST: i64 = 1000;

/// What of a project is immutable.
#[derive(Debug, Clone, Default)]
pub struct Rules(Vec<Rule>);

/// The rules of a project that are in force.
pub async fn rules(conn: &mut Conn, project: ProjectId) -> Result<Rules> {
    let texts = conn
        .rows(
            "SELECT rule FROM immutable_rules WHERE project_id = $1 AND NOT disabled ORDER BY id LIMIT $2",
            &[project.into(), MOST.into()],
            |row| row.text(0),
        )
        .await?;
    let parsed = texts.iter().map(|text| parse(text));
    parsed.collect::<Result<_>>().map(Rules)
}

impl Rules {
    /// Whether a tag is immutable in the repository of this full name.
    pub fn hold(&self, repository: &str, tag: &str) -> bool {
        let (_, repository) = repository.split_once('/').unwrap_or_default();
        protects(&self.0, repository, tag)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A rule as it is kept.
#[derive(Debug, Clone)]
pub struct Stored {
    pub id: RuleId,
    pub uid: String,
    pub project: ProjectId,
    pub disabled: bool,
    pub rule: Rule,
}

fn read(row: &Row<'_>) -> Result<Stored> {
    Ok(Stored {
        id: RuleId(row.int(0)?),
        uid: row.text(1)?,
        project: ProjectId(row.int(2)?),
        disabled: row.bool(3)?,
        rule: parse(&row.text(4)?)?,
    })
}

/// Of all projects: which one's is a `Within`.
pub static LIST: List<Stored> = List {
    table: "immutable_rules i",
    always: "",
    joins: "",
    columns: &["i.id", "i.uid", "i.project_id", "i.disabled", "i.rule"],
    read,
    id: "i.id",
    fields: &[
        Field::new(&["id", "ID"], "i.id", Of::Number)
            .indexed()
            .unique(),
        Field::new(&["disabled", "Disabled"], "i.disabled", Of::Bool),
        Field::new(&["creation_time", "CreationTime"], "i.created_at", Of::Time),
        Field::new(&["update_time", "UpdateTime"], "i.updated_at", Of::Time),
    ],
    order: &[("id", false)],
};

/// Of the list: those of a project.
pub fn of(project: ProjectId) -> Within {
    Within::all().and("i.project_id = $1", [project.0.into()])
}

pub async fn find(conn: &mut Conn, project: ProjectId, id: RuleId) -> Result<Option<Stored>> {
    conn.row(
        "SELECT id, uid, project_id, disabled, rule FROM immutable_rules WHERE id = $1 AND project_id = $2",
        &[id.into(), project.into()],
        read,
    )
    .await
}

/// A new rule is in force at once.
pub async fn insert(tx: &mut Tx, project: &Project, rule: &Rule, now: Timestamp) -> Result<RuleId> {
    projects::lock(tx, project).await?;
    let there = tx
        .row(
            "SELECT COUNT(*) FROM immutable_rules WHERE project_id = $1",
            &[project.id.into()],
            |row| row.int(0),
        )
        .await?;
    if there.unwrap_or(0) >= MOST {
        return Err(Error::Precondition(format!(
            "project `{}` has {MOST} immutable rules, and more are too many: delete one, or let one select more",
            project.name
        )));
    }
    let (uid, text) = (new_uid(), written(rule)?);
    let id = tx
        .row(
            "INSERT INTO immutable_rules (uid, project_id, disabled, rule, digest, created_at, updated_at)
             VALUES ($1, $2, FALSE, $3, $5, $4, $4)
             ON CONFLICT DO NOTHING
             RETURNING id",
            &[
                (&uid).into(),
                project.id.into(),
                (&text).into(),
                now.into(),
                (&digest(&text)).into(),
            ],
            |row| row.int(0),
        )
        .await?
        .ok_or_else(|| taken(project))?;
    tell(tx, Kind::ImmutableRuleCreated, project, &uid, rule, now).await?;
    Ok(RuleId(id))
}

/// Says whether a rule is disabled, and with `rule` what it says.
pub async fn update(
    tx: &mut Tx,
    project: &Project,
    id: RuleId,
    rule: Option<&Rule>,
    disabled: bool,
    now: Timestamp,
) -> Result<()> {
    projects::lock(tx, project).await?;
    // As it is now: who switches it at the same time takes back nothing of what it says.
    let stored = find(tx, project.id, id).await?;
    let mut stored = stored.ok_or_else(|| not_found(id))?;
    if let Some(rule) = rule {
        stored.rule = rule.clone();
    }
    let rule = Stored { disabled, ..stored };
    let text = written(&rule.rule)?;
    let digest = digest(&text);
    let is_taken = tx
        .exists(
            "SELECT 1 FROM immutable_rules WHERE project_id = $1 AND digest = $2 AND id <> $3",
            &[project.id.into(), (&digest).into(), rule.id.into()],
        )
        .await?;
    if is_taken {
        return Err(taken(project));
    }
    let updated = tx
        .execute(
            "UPDATE immutable_rules SET rule = $2, disabled = $3, updated_at = $4, digest = $5 WHERE id = $1",
            &[
                rule.id.into(),
                (&text).into(),
                rule.disabled.into(),
                now.into(),
                (&digest).into(),
            ],
        )
        .await?;
    if updated == 0 {
        return Err(not_found(rule.id));
    }
    let (kind, uid) = (Kind::ImmutableRuleUpdated, &rule.uid);
    tell(tx, kind, project, uid, &rule.rule, now).await
}

pub async fn delete(tx: &mut Tx, project: &Project, rule: &Stored, now: Timestamp) -> Result<()> {
    let deleted = tx
        .execute(
            "DELETE FROM immutable_rules WHERE id = $1",
            &[rule.id.into()],
        )
        .await?;
    if deleted == 0 {
        return Err(not_found(rule.id));
    }
    let (kind, uid) = (Kind::ImmutableRuleDeleted, &rule.uid);
    tell(tx, kind, project, uid, &rule.rule, now).await
}

pub fn not_found(id: RuleId) -> Error {
    Error::not_found(What::Rule, format!("immutable tag rule {id} not found"))
}

/// A rule is named by what it protects, for people.
async fn tell(
    tx: &mut Tx,
    kind: Kind,
    project: &Project,
    uid: &str,
    rule: &Rule,
    now: Timestamp,
) -> Result<()> {
    let key = format!("{}/{rule}", project.name);
    let payload = json!({ "uid": uid, "rule": rule });
    changes::append(tx, kind, &key, Some(project.id), &payload, now).await
}

fn parse(text: &str) -> Result<Rule> {
    serde_json::from_str(text).map_err(model::error::internal("reading an immutable rule"))
}

fn written(rule: &Rule) -> Result<String> {
    serde_json::to_string(rule).map_err(model::error::internal("writing an immutable rule"))
}

/// By which a project has a rule once.
fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn taken(project: &Project) -> Error {
    Error::Conflict(format!(
        "project `{}` has this immutable rule already",
        project.name
    ))
}
