//! How much there is, and what went on.

use auth::Subject;
use db::{
    activity::{self, Of, Span},
    projects::{self, Tally},
    repositories,
};
use model::{
    Error as Cause, What,
    permission::{Action, Resource},
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    access,
    call::Call,
    error::{Error, Result},
    input::{Json, Query, number},
};

#[derive(Serialize, JsonSchema)]
pub(super) struct Statistic {
    /// Of the caller, unless he is an administrator.
    private_project_count: i64,
    private_repo_count: i64,
    public_project_count: i64,
    public_repo_count: i64,
    /// For administrators, as the totals that follow; 0 for others.
    total_project_count: i64,
    total_repo_count: i64,
    /// The sum of what projects use, in bytes.
    total_storage_consumption: i64,
}

pub(super) async fn get(call: Call) -> Result<Json<Statistic>> {
    let is_admin = call.caller.is_admin();
    let mut reader = call.reader().await?;
    let (private, public) = match &call.caller.subject {
        _ if is_admin => projects::tallies(&mut reader, None).await?,
        Subject::User(user) => projects::tallies(&mut reader, Some(user.id)).await?,
        Subject::Anonymous | Subject::Robot(_) => {
            let (_, public) = projects::tallies(&mut reader, None).await?;
            (Tally::default(), public)
        }
    };
    let total = |private: i64, public: i64| if is_admin { private + public } else { 0 };
    Ok(Json(Statistic {
        private_project_count: private.projects,
        private_repo_count: private.repositories,
        public_project_count: public.projects,
        public_repo_count: public.repositories,
        total_project_count: total(private.projects, public.projects),
        total_repo_count: total(private.repositories, public.repositories),
        total_storage_consumption: if is_admin {
            projects::bytes(&mut reader).await?
        } else {
            0
        },
    }))
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct SeriesOf {
    /// A project's name; the whole system without one.
    project: Option<String>,
    /// A repository of the project, by its name without the project's.
    repository: Option<String>,
    /// Seconds since 1970; a hundred spans before `to` when absent.
    #[serde(default, deserialize_with = "number")]
    from: Option<i64>,
    /// Seconds since 1970; now when absent.
    #[serde(default, deserialize_with = "number")]
    to: Option<i64>,
    /// `hour` or `day`.
    span: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct StatisticPoint {
    /// When the hour or the day began.
    time: String,
    pushes: i64,
    pulls: i64,
    bytes_in: i64,
    bytes_out: i64,
}

/// What went on, the earliest first; hours and days without anything are left out.
pub(super) async fn series(
    call: Call,
    Query(asked): Query<SeriesOf>,
) -> Result<Json<Vec<StatisticPoint>>> {
    let (span, seconds) = match asked.span.as_deref() {
        None | Some("" | "day") => (Span::Day, 86_400),
        Some("hour") => (Span::Hour, 3600),
        Some(_) => {
            let why = "span in query should be one of [hour day]";
            return Err(Error::Unprocessable(why.to_owned()));
        }
    };
    let of = whose(&call, &asked).await?;
    let to = asked.to.unwrap_or_else(|| call.now().seconds() + 1);
    let from = asked
        .from
        .unwrap_or_else(|| to.saturating_sub(100 * seconds));
    let points = activity::series(&mut *call.reader().await?, of, span, from, to).await?;
    let shown = points.into_iter().map(|point| StatisticPoint {
        time: Timestamp(point.starts_at * 1_000_000).rfc3339(),
        pushes: point.counts.pushes,
        pulls: point.counts.pulls,
        bytes_in: point.counts.bytes_in,
        bytes_out: point.counts.bytes_out,
    });
    Ok(Json(shown.collect()))
}

/// Of the system for administrators, of a project for whoever may read its repositories.
async fn whose(call: &Call, asked: &SeriesOf) -> Result<Of> {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (project, repository) = (filled(&asked.project), filled(&asked.repository));
    let Some(project) = project else {
        if repository.is_some() {
            let why = "a repository is named with its project";
            return Err(Cause::invalid(What::Query, why).into());
        }
        if call.caller.is_admin() {
            return Ok(Of::System);
        }
        return Err(access::refused(call));
    };
    access::require_in(call, &project, Resource::Repository, Action::Read).await?;
    let mut reader = call.reader().await?;
    let id = projects::get_name(&mut reader, &project).await?.id;
    let Some(repository) = repository else {
        return Ok(Of::Project(id));
    };
    let name = format!("{project}/{repository}");
    let Some(found) = repositories::find(&mut reader, &name).await? else {
        let why = format!("repository {name} not found");
        return Err(Cause::not_found(What::Repository, why).into());
    };
    Ok(Of::Repository(id, found.id))
}
