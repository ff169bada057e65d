//! Repositories: what projects hold, made by the first push and deleted here.

use std::collections::HashMap;

use auth::Subject;
use db::{
    Conn,
    counters::{self, Counter},
    query::Within,
    repositories::details::{self, Details, Viewer},
};
use model::{
    Error as Cause, What,
    id::{ProjectId, RepositoryId},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{Done, Listed},
    call::Call,
    error::Result,
    input::Json,
    page::Wanted,
};

/// Bytes of a description.
const LONGEST: usize = 64 << 10;

#[derive(Serialize, JsonSchema)]
pub(super) struct Repository {
    id: i64,
    project_id: i64,
    /// With its project's name.
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    /// What the list of its artifacts shows.
    artifact_count: i64,
    pull_count: i64,
    creation_time: String,
    update_time: String,
}

impl Repository {
    fn of(row: Details, artifact_count: i64) -> Self {
        Self {
            id: row.id.0,
            project_id: row.project.0,
            name: row.name,
            description: row.description.unwrap_or_default(),
            artifact_count,
            pull_count: row.pulls,
            creation_time: row.created_at.rfc3339(),
            update_time: row.updated_at.rfc3339(),
        }
    }
}

/// Those of all projects that the caller may look into.
pub(super) async fn list_all(call: Call) -> Result<Listed<Repository>> {
    let viewer = viewer(&call);
    let known = if viewer == Viewer::Everything {
        let of = |project| Counter::ProjectRepositories(ProjectId(project));
        Some(counters::sum(&mut *call.reader().await?, of).await?)
    } else {
        None
    };
    listed(&call, details::visible_to(viewer), known).await
}

pub(super) async fn list(call: Call) -> Result<Listed<Repository>> {
    let of_project = Counter::ProjectRepositories(call.project());
    let known = counters::value(&mut *call.reader().await?, of_project).await?;
    listed(&call, details::of_project(call.project()), Some(known)).await
}

pub(super) async fn get(call: Call) -> Result<Json<Repository>> {
    let conn = &mut *call.reader().await?;
    let row = details::get(conn, call.repository()?.as_str()).await?;
    let counts = details::artifact_counts(conn, &[row.id]).await?;
    let count = counts.first().map_or(0, |(_, count)| *count);
    Ok(Json(Repository::of(row, count)))
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "RepositoryReq")]
pub(super) struct Words {
    #[serde(default)]
    description: String,
}

/// Kept as Harbor keeps it: no part of it is markup to whoever shows it.
pub(super) async fn update(call: Call, Json(asked): Json<Words>) -> Result<Done> {
    if asked.description.len() > LONGEST {
        let why = format!("a description has at most {LONGEST} bytes");
        return Err(Cause::invalid(What::Request, why).into());
    }
    let row = details::get(&mut *call.reader().await?, call.repository()?.as_str()).await?;
    let description = escaped(&asked.description);
    call.db()
        .write(move |tx| {
            let (row, description) = (row.clone(), description.clone());
            Box::pin(async move {
                let now = tx.now().await?;
                details::describe(tx, &row, &description, now).await
            })
        })
        .await?;
    Ok(Done)
}

/// As Go's `template.HTMLEscapeString`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => escaped.push('\u{fffd}'),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn viewer(call: &Call) -> Viewer {
    match &call.caller.subject {
        _ if call.caller.is_admin() => Viewer::Everything,
        Subject::User(user) => Viewer::User(user.id),
        Subject::Robot(robot) => Viewer::Robot(robot.id, robot.project),
        Subject::Anonymous if call.app().auth.allows_anonymous() => Viewer::Anybody,
        Subject::Anonymous => Viewer::Nothing,
    }
}

async fn listed(call: &Call, within: Within, known: Option<i64>) -> Result<Listed<Repository>> {
    let Wanted { listing, page } = call.wanted()?;
    let selection = details::LIST.select(&listing, within)?;
    call.listed_by(selection, page, known, |conn, rows| {
        Box::pin(show(conn, rows))
    })
    .await
}

async fn show(conn: &mut Conn, rows: Vec<Details>) -> Result<Vec<Repository>, Cause> {
    let ids: Vec<RepositoryId> = rows.iter().map(|row| row.id).collect();
    let counts = details::artifact_counts(conn, &ids).await?;
    let counts: HashMap<RepositoryId, i64> = counts.into_iter().collect();
    let shown = rows.into_iter().map(|row| {
        let count = counts.get(&row.id).copied().unwrap_or(0);
        Repository::of(row, count)
    });
    Ok(shown.collect())
}

/// Deletes a repository with all it holds.
pub(super) async fn delete(call: Call) -> Result<Done> {
    let name = call.repository()?;
    call.registry().delete_repository(&name).await?;
    Ok(Done)
}
