//! Projects.

mod shown;
mod wanted;

use auth::Subject;
use db::{
    members,
    projects::{self, LIST},
    query::Within,
    quotas, robots,
};
use model::{
    Error as Cause, What,
    listing::Match,
    permission::{Action, Resource},
    robot::Scope,
    role::Role,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{Done, Listed},
    call::Call,
    error::{Error, Result},
    input::{Json, Query, flag},
};
pub(super) use shown::{Project, show_all};
pub(super) use wanted::{create, update};

#[derive(Deserialize, JsonSchema)]
pub(super) struct ListProjects {
    /// Part of the name.
    name: Option<String>,
    #[serde(default, deserialize_with = "flag")]
    public: Option<bool>,
    /// The name of the project's owner.
    owner: Option<String>,
    /// With metadata, allowlist and the owner's name; so it is unless this is false.
    #[serde(default, deserialize_with = "flag")]
    with_detail: Option<bool>,
}

/// What the caller may see: public projects and his own; everything for whoever may list projects on the system.
pub(super) async fn list(call: Call, Query(asked): Query<ListProjects>) -> Result<Listed<Project>> {
    let mut wanted = call.wanted()?;
    let filters = &mut wanted.listing.filters;
    let own = [
        ("name", asked.name.map(Match::Fuzzy)),
        ("owner", asked.owner.map(Match::Exact)),
        (
            "public",
            asked.public.map(|public| Match::Exact(public.to_string())),
        ),
    ];
    for (key, value) in own {
        if let Some(value) = value.filter(|value| !is_empty(value)) {
            filters.insert(key.to_owned(), value);
        }
    }
    let selection = LIST.select(&wanted.listing, visible(&call).await?)?;
    let (caller, with_detail) = (call.caller.clone(), asked.with_detail.unwrap_or(true));
    call.listed_by(selection, wanted.page, None, move |conn, rows| {
        let caller = caller.clone();
        Box::pin(async move { show_all(conn, &caller, rows, with_detail).await })
    })
    .await
}

fn is_empty(value: &Match) -> bool {
    matches!(value, Match::Fuzzy(text) | Match::Exact(text) if text.is_empty())
}

async fn visible(call: &Call) -> Result<Within> {
    let app = call.app();
    if !app.auth.sees_public(&call.caller) {
        return Ok(Within::all().and("FALSE", []));
    }
    if call.may_on_system(Resource::Project, Action::List).await? {
        return Ok(Within::all());
    }
    Ok(match &call.caller.subject {
        Subject::Anonymous => projects::visible_to(None),
        Subject::User(user) => projects::visible_to(Some(user.id)),
        Subject::Robot(robot) => {
            let permissions = robots::permissions(&mut *call.reader().await?, robot.id).await?;
            let everywhere = permissions
                .iter()
                .any(|permission| permission.scope == Scope::EveryProject);
            if everywhere {
                Within::all()
            } else {
                projects::visible_to_robot(robot.id)
            }
        }
    })
}

pub(super) async fn get(call: Call) -> Result<Json<Project>> {
    let mut reader = call.reader().await?;
    let project = row(&call, &mut reader).await?;
    let shown = show_all(&mut reader, &call.caller, vec![project], true).await?;
    shown
        .into_iter()
        .next()
        .map(Json)
        .ok_or_else(|| gone().into())
}

/// The project of the path, as it is now.
pub(super) async fn row(call: &Call, conn: &mut db::Conn) -> Result<projects::Project, Cause> {
    projects::find(conn, call.project()).await?.ok_or_else(gone)
}

pub(super) fn gone() -> Cause {
    Cause::not_found(What::Project, "the project was deleted just now")
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct HeadProject {
    project_name: Option<String>,
}

/// Whether there is a project of this name, for everybody who signed in.
pub(super) async fn head(call: Call, Query(asked): Query<HeadProject>) -> Result<Done> {
    let Some(name) = asked.project_name else {
        return Err(Error::Unprocessable(
            "project_name in query is required".to_owned(),
        ));
    };
    let mut reader = call.reader().await?;
    match projects::find_name(&mut reader, &name).await? {
        Some(_) => Ok(Done),
        None => Err(Cause::not_found(What::Project, "project not found").into()),
    }
}

pub(super) async fn delete(call: Call) -> Result<Done> {
    match call.registry().delete_project(call.project()).await {
        Err(Cause::Precondition(why)) => {
            Err(Cause::Precondition(format!("precondition failed: {why}")).into())
        }
        other => Ok(other.map(|()| Done)?),
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ProjectDeletable {
    deletable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
}

pub(super) async fn deletable(call: Call) -> Result<Json<ProjectDeletable>> {
    let mut reader = call.reader().await?;
    let holds = projects::holds_repositories(&mut reader, call.project()).await?;
    Ok(Json(ProjectDeletable {
        deletable: !holds,
        message: holds.then_some(projects::NOT_EMPTY),
    }))
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ProjectSummary {
    repo_count: i64,
    /// For whoever may list members, as the counts that follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    project_admin_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maintainer_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    developer_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guest_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limited_guest_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<ProjectSummaryQuota>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ProjectSummaryQuota {
    hard: Storage,
    used: Storage,
}

/// Bytes.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Storage {
    pub(super) storage: i64,
}

pub(super) async fn summary(call: Call) -> Result<Json<ProjectSummary>> {
    let (id, rights) = (call.project(), &call.place().rights);
    let has_quota = rights.may(Resource::Quota, Action::Read)
        && call.settings().await?.quota_per_project_enable();
    let mut reader = call.reader().await?;
    let extras = projects::extras(&mut reader, &[id]).await?;
    let quota = if has_quota {
        quotas::find(&mut reader, id).await?
    } else {
        None
    };
    let counts = if rights.may(Resource::Member, Action::List) {
        Some(members::count(&mut reader, id).await?)
    } else {
        None
    };
    let of = |role: Role| {
        let counts = counts.as_ref()?;
        Some(counts.get(&role).copied().unwrap_or(0))
    };
    Ok(Json(ProjectSummary {
        repo_count: extras.get(&id.0).map_or(0, |extras| extras.repositories),
        project_admin_count: of(Role::ProjectAdmin),
        maintainer_count: of(Role::Maintainer),
        developer_count: of(Role::Developer),
        guest_count: of(Role::Guest),
        limited_guest_count: of(Role::LimitedGuest),
        quota: quota.map(|quota| ProjectSummaryQuota {
            hard: Storage {
                storage: quota.hard,
            },
            used: Storage {
                storage: quota.used,
            },
        }),
    }))
}
