//! Search by a part of the name, for projects and repositories.

use auth::Subject;
use db::{
    projects::{self, LIST},
    query::Within,
    repositories::{self, Among},
};
use model::listing::{Listing, Match};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    call::Call,
    error::{Error, Result},
    input::{Json, Query},
    projects::{Project, show_all},
};

/// What is found of each at most; who wants more asks the lists, which have pages.
const MOST: i64 = 500;

#[derive(Deserialize, JsonSchema)]
pub(super) struct SearchFor {
    /// Plain text. It must be there, and may be empty.
    q: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Search {
    project: Vec<Project>,
    repository: Vec<SearchRepository>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct SearchRepository {
    /// With the project's name.
    repository_name: String,
    project_name: String,
    project_id: i64,
    project_public: bool,
    pull_count: i64,
    artifact_count: i64,
}

/// Among what the caller may see; robots see what everybody does. Names are in small letters, so large ones find no project.
pub(super) async fn search(call: Call, Query(asked): Query<SearchFor>) -> Result<Json<Search>> {
    let Some(text) = asked.q else {
        return Err(Error::Unprocessable("q in query is required".to_owned()));
    };
    if !call.app().auth.sees_public(&call.caller) {
        return Ok(Json(Search {
            project: Vec::new(),
            repository: Vec::new(),
        }));
    }
    let among = match &call.caller.subject {
        _ if call.caller.is_admin() => Among::All,
        Subject::User(user) => Among::VisibleTo(user.id),
        Subject::Anonymous | Subject::Robot(_) => Among::Public,
    };
    let mut reader = call.reader().await?;
    let lower = text.to_lowercase();
    let found = if lower == text {
        let mut listing = Listing::default();
        if !text.is_empty() {
            listing
                .filters
                .insert("name".to_owned(), Match::Fuzzy(text));
        }
        LIST.select(&listing, within(among))?
            .page(&mut reader, 0, MOST)
            .await?
    } else {
        Vec::new()
    };
    let repositories = repositories::search(&mut reader, &lower, among, MOST).await?;
    Ok(Json(Search {
        project: show_all(&mut reader, &call.caller, found, true).await?,
        repository: repositories.into_iter().map(SearchRepository::of).collect(),
    }))
}

fn within(among: Among) -> Within {
    match among {
        Among::All => Within::all(),
        Among::Public => projects::visible_to(None),
        Among::VisibleTo(user) => projects::visible_to(Some(user)),
    }
}

impl SearchRepository {
    fn of(found: repositories::Found) -> Self {
        Self {
            repository_name: found.name,
            project_name: found.project_name,
            project_id: found.project.0,
            project_public: found.public,
            pull_count: found.pulls,
            artifact_count: found.artifacts,
        }
    }
}
