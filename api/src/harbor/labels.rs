//! Labels: marks for artifacts, of the system (`g`) or of one project (`p`).

use db::labels::{self, Label as Row, Words};
use model::{
    Error as Cause, What,
    id::{LabelId, ProjectId},
    listing::Match,
    permission::{Action, Resource},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    access,
    answer::{Created, Done, Listed},
    call::Call,
    error::{Error, Result},
    input::{Json, Query, number},
    page::Wanted,
};

const LONGEST_NAME: usize = 128;
const LONGEST_DESCRIPTION: usize = 1024;

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Label {
    #[serde(default)]
    id: i64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: String,
    /// `#RRGGBB`.
    #[serde(default)]
    color: String,
    /// `g` for the system, `p` for a project.
    #[serde(default)]
    scope: String,
    /// 0 for a label of the system.
    #[serde(default)]
    project_id: i64,
    #[serde(default)]
    creation_time: String,
    #[serde(default)]
    update_time: String,
}

impl Label {
    /// What it is called where only that is wanted.
    pub(super) fn id(&self) -> LabelId {
        LabelId(self.id)
    }
}

impl From<Row> for Label {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.0,
            scope: if row.project.is_some() { "p" } else { "g" }.to_owned(),
            project_id: row.project.map_or(0, |project| project.0),
            name: row.name,
            description: row.description,
            color: row.color,
            creation_time: row.created_at.rfc3339(),
            update_time: row.updated_at.rfc3339(),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ListLabels {
    /// Part of the name.
    name: Option<String>,
    /// `g` for those of the system, `p` for a project's.
    scope: Option<String>,
    /// Which project, where the scope is `p`.
    #[serde(default, deserialize_with = "number")]
    project_id: Option<i64>,
}

/// Those of the system are everybody's to see.
pub(super) async fn list(call: Call, Query(asked): Query<ListLabels>) -> Result<Listed<Label>> {
    let Wanted { mut listing, page } = call.wanted()?;
    let project = match (asked.scope.as_deref(), asked.project_id) {
        (Some("g"), _) => None,
        (Some("p"), Some(id @ 1..)) => Some(ProjectId(id)),
        (Some("p"), _) => return Err(invalid("with scope p the request needs a project_id")),
        (other, _) => {
            let shown: String = other.unwrap_or_default().chars().take(100).collect();
            return Err(invalid(format!("invalid scope: `{shown}`: use g or p")));
        }
    };
    if project.is_some() {
        require(&call, project, Action::List).await?;
    }
    if let Some(name) = asked.name.filter(|name| !name.is_empty()) {
        listing
            .filters
            .insert("name".to_owned(), Match::Fuzzy(name));
    }
    let selection = labels::LIST.select(&listing, labels::of(project))?;
    call.listed(selection, page, None, Label::from).await
}

pub(super) async fn create(call: Call, Json(asked): Json<Label>) -> Result<Created> {
    let project = match asked.scope.as_str() {
        "g" => None,
        "p" => Some(ProjectId(asked.project_id)),
        other => return Err(invalid(format!("invalid scope: {other}: use g or p"))),
    };
    require(&call, project, Action::Create).await?;
    let words = words(asked)?;
    let id = call
        .db()
        .write(move |tx| {
            let words = words.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                labels::insert(tx, project, &words, now).await
            })
        })
        .await?;
    Ok(Created(id.to_string()))
}

pub(super) async fn get(call: Call) -> Result<Json<Label>> {
    Ok(Json(find(&call, Action::Read).await?.into()))
}

/// Where it belongs stays as it is.
pub(super) async fn update(call: Call, Json(asked): Json<Label>) -> Result<Done> {
    let row = find(&call, Action::Update).await?;
    let words = words(asked)?;
    call.db()
        .write(move |tx| {
            let (row, words) = (row.clone(), words.clone());
            Box::pin(async move {
                let now = tx.now().await?;
                labels::update(tx, &row, &words, now).await
            })
        })
        .await?;
    Ok(Done)
}

pub(super) async fn delete(call: Call) -> Result<Done> {
    let row = find(&call, Action::Delete).await?;
    call.db()
        .write(move |tx| {
            let row = row.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                labels::delete(tx, &row, now).await
            })
        })
        .await?;
    Ok(Done)
}

/// The label of the path, when the caller may do this to labels where it belongs.
async fn find(call: &Call, action: Action) -> Result<Row> {
    if !call.caller.is_authenticated() {
        return Err(Cause::Unauthenticated.into());
    }
    let id = LabelId(call.number("label_id")?);
    let found = labels::find(&mut *call.reader().await?, id).await?;
    let row = found.ok_or_else(|| labels::not_found(id))?;
    require(call, row.project, action).await?;
    Ok(row)
}

async fn require(call: &Call, project: Option<ProjectId>, action: Action) -> Result<()> {
    match project {
        Some(project) => access::require_in_id(call, project, Resource::Label, action).await,
        None => call.require_on_system(Resource::Label, action).await,
    }
}

fn words(asked: Label) -> Result<Words> {
    if asked.name.is_empty() || asked.name.chars().count() > LONGEST_NAME {
        return Err(invalid(format!(
            "a label's name has 1 to {LONGEST_NAME} characters"
        )));
    }
    if asked.description.chars().count() > LONGEST_DESCRIPTION {
        return Err(invalid(format!(
            "a label's description has at most {LONGEST_DESCRIPTION} characters"
        )));
    }
    let digits = asked.color.strip_prefix('#').unwrap_or(&asked.color);
    let is_color =
        matches!(digits.len(), 0 | 3 | 6) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_color {
        return Err(invalid("a label's color is written as #RRGGBB"));
    }
    Ok(Words {
        name: asked.name,
        description: asked.description,
        color: asked.color,
    })
}

fn invalid(why: impl Into<String>) -> Error {
    Cause::invalid(What::Label, why).into()
}
