//! What clients want a project to be: made, or changed.

use auth::Subject;
use db::{
    cve_allowlists, project_metadata,
    projects::{self, NewProject},
    users,
};
use http::HeaderName;
use model::{
    Error as Cause, What,
    id::UserId,
    metadata::{self, Metadata, PUBLIC, RETENTION},
    permission::{Action, Resource},
    settings::MOST_BYTES,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{gone, shown::ProjectMetadata};
use crate::harbor::{
    answer::{Created, Done},
    call::Call,
    cve_allowlists::CVEAllowlist,
    error::{Error, Result},
    input::Json,
};

const NAME_IN_LOCATION: HeaderName = HeaderName::from_static("x-resource-name-in-location");

#[derive(Deserialize, JsonSchema)]
pub(crate) struct ProjectReq {
    #[serde(default)]
    project_name: String,
    /// Counts where `metadata.public` is not told.
    public: Option<bool>,
    metadata: Option<ProjectMetadata>,
    /// Only when a project is changed, as with Harbor.
    cve_allowlist: Option<CVEAllowlist>,
    /// Bytes, -1 for no limit. Of whoever is no administrator the system's default counts.
    storage_limit: Option<i64>,
    /// Not supported yet.
    registry_id: Option<i64>,
}

impl ProjectReq {
    /// The metadata as they are kept.
    fn metadata(&self) -> Result<Metadata> {
        let told = self.metadata.as_ref().map(ProjectMetadata::values);
        let mut kept = metadata::of_request(&told.transpose()?.unwrap_or_default())?;
        if let (Some(public), false) = (self.public, kept.contains_key(PUBLIC)) {
            kept.insert(PUBLIC.to_owned(), public.to_string());
        }
        Ok(kept)
    }

    fn retention(&self) -> Option<&str> {
        let told = self.metadata.as_ref()?.retention_id.as_deref()?;
        Some(told).filter(|id| !id.is_empty())
    }
}

pub(crate) async fn create(call: Call, Json(asked): Json<ProjectReq>) -> Result<Created> {
    let settings = call.settings().await?;
    let is_admin = call
        .may_on_system(Resource::Project, Action::Create)
        .await?;
    if matches!(&call.caller.subject, Subject::Robot(robot) if robot.project.is_some()) {
        return denied("Only system level robot can create project");
    }
    // A robot has what it was given and no more; the setting is about people.
    if matches!(call.caller.subject, Subject::Robot(_)) && !is_admin {
        return Err(super::super::access::refused(&call));
    }
    if settings.restricts_project_creation() && !is_admin {
        return denied("Only system admin can create project");
    }
    if asked.registry_id.is_some() && !is_admin {
        return denied("Only system admin can create proxy cache project");
    }
    let storage = settings.quota_per_project_enable().then(|| {
        let told = asked.storage_limit.filter(|limit| is_admin && *limit != 0);
        told.or(settings.storage_per_project()).unwrap_or(-1)
    });
    check_new(&asked, storage)?;
    let mut metadata = asked.metadata()?;
    let public = metadata
        .remove(PUBLIC)
        .is_some_and(|public| public == "true");
    let new = NewProject {
        public,
        metadata,
        storage,
        ..NewProject::named(asked.project_name.parse()?, owner(&call).await?)
    };
    let now = call.now();
    let (name, db) = (new.name.clone(), call.db());
    let id = db
        .write(move |tx| {
            let new = new.clone();
            Box::pin(async move { projects::insert(tx, &new, now).await })
        })
        .await?;
    let by_name = call
        .header(NAME_IN_LOCATION)
        .is_some_and(|value| metadata::flag(value) == Some(true));
    Ok(Created(if by_name {
        name.to_string()
    } else {
        id.to_string()
    }))
}

fn denied<T>(why: &str) -> Result<T> {
    Err(Cause::Denied(why.to_owned()).into())
}

fn invalid<T>(why: impl Into<String>) -> Result<T> {
    Err(Cause::invalid(What::Project, why).into())
}

fn check_new(asked: &ProjectReq, storage: Option<i64>) -> Result<()> {
    if asked.project_name.chars().count() > 255 {
        return Err(Error::Unprocessable(
            "project_name in body should be at most 255 chars long".to_owned(),
        ));
    }
    let public = asked
        .metadata
        .as_ref()
        .and_then(|told| told.public.as_deref());
    if let Some(public) = public.filter(|public| !matches!(*public, "" | "true" | "false")) {
        let shown: String = public.chars().take(100).collect();
        return invalid(format!(
            "metadata.public should only be 'true' or 'false', but got: '{shown}'"
        ));
    }
    if asked.retention().is_some() {
        return invalid(
            "the retention_id in the request's payload when creating a project should be omitted, alternatively passing an empty string",
        );
    }
    match asked.registry_id {
        Some(id) if id <= 0 => {
            return invalid(format!(
                "{id} is invalid value of registry_id, it should be geater than 0"
            ));
        }
        Some(_) => return invalid("projects that cache another registry are not supported yet"),
        None => {}
    }
    if storage.is_some_and(|limit| limit != -1 && !(1..=MOST_BYTES).contains(&limit)) {
        return invalid(format!(
            "storage_limit must be -1 (no limit) or a number of bytes from 1 to {MOST_BYTES}"
        ));
    }
    Ok(())
}

/// Who asks; for a robot the administrator with the least number.
async fn owner(call: &Call) -> Result<UserId> {
    if let Subject::User(user) = &call.caller.subject {
        return Ok(user.id);
    }
    let found = users::first_admin(&mut *call.reader().await?).await?;
    found.ok_or_else(|| {
        Cause::Precondition("cannot create project as no system admin found".to_owned()).into()
    })
}

/// Keys of the metadata that are not told stay as they are.
pub(crate) async fn update(call: Call, Json(asked): Json<ProjectReq>) -> Result<Done> {
    let (id, now) = (call.project(), call.now());
    let metadata = asked.metadata()?;
    let retention = asked.retention().map(str::to_owned);
    let allowlist = match asked.cve_allowlist {
        Some(list) => {
            list.check_project(id)?;
            Some((list.checked()?, list.expires_at))
        }
        None => None,
    };
    call.db()
        .write(move |tx| {
            let (metadata, retention, allowlist) =
                (metadata.clone(), retention.clone(), allowlist.clone());
            Box::pin(async move {
                let project = projects::find(tx, id).await?.ok_or_else(gone)?;
                if let Some(told) = retention {
                    let kept = project_metadata::of(tx, &project).await?;
                    if kept.get(RETENTION) != Some(&told) {
                        return Err(Cause::invalid(What::Project, "the retention_id in the request's payload when updating a project should be omitted, alternatively passing the one that has already been associated to this project"));
                    }
                }
                if !metadata.is_empty() {
                    project_metadata::set(tx, &project, &metadata, now).await?;
                }
                if let Some((items, expires_at)) = allowlist {
                    cve_allowlists::set(tx, &project, &items, expires_at, now).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(Done)
}
