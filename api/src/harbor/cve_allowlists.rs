//! Vulnerabilities that do not count: the system's list, and what lists of projects look like.

use db::{cve_allowlists, projects::Project};
use model::{Error as Cause, What, id::ProjectId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{answer::Done, call::Call, error::Result, input::Json};

/// What Harbor shows where a time is not known.
const NEVER: &str = "0001-01-01T00:00:00.000Z";

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct CVEAllowlist {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    /// The system's list has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<i64>,
    items: Vec<CVEAllowlistItem>,
    /// Seconds since 1970; absent when the list does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<i64>,
    creation_time: String,
    update_time: String,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct CVEAllowlistItem {
    /// Such as `CVE-2019-10164`.
    cve_id: String,
}

impl Default for CVEAllowlist {
    fn default() -> Self {
        Self::nobodys()
    }
}

impl CVEAllowlist {
    pub(super) fn nobodys() -> Self {
        Self {
            id: None,
            project_id: None,
            items: Vec::new(),
            expires_at: None,
            creation_time: NEVER.to_owned(),
            update_time: NEVER.to_owned(),
        }
    }

    /// Of a project whose list nobody wrote yet.
    pub(super) fn empty_of(project: &Project) -> Self {
        Self {
            project_id: Some(project.id.0),
            creation_time: project.created_at.rfc3339(),
            update_time: project.created_at.rfc3339(),
            ..Self::nobodys()
        }
    }

    pub(super) fn of(list: cve_allowlists::CveAllowlist) -> Self {
        let items = list.items.into_iter();
        Self {
            id: Some(list.id),
            project_id: Some(list.project).filter(|id| *id != 0),
            items: items.map(|cve_id| CVEAllowlistItem { cve_id }).collect(),
            expires_at: list.expires_at,
            creation_time: list.created_at.rfc3339(),
            update_time: list.updated_at.rfc3339(),
        }
    }

    /// A list may name its project; then it must be this one.
    pub(super) fn check_project(&self, project: ProjectId) -> Result<()> {
        match self.project_id {
            Some(told) if told != 0 && told != project.0 => invalid(format!(
                "project_id in cve_allowlist must be {project} but it's {told}"
            )),
            _ => Ok(()),
        }
    }

    /// The items, none of them empty and none twice.
    pub(super) fn checked(&self) -> Result<Vec<String>> {
        let mut items: Vec<String> = Vec::with_capacity(self.items.len());
        for item in &self.items {
            let id = item.cve_id.trim();
            if id.is_empty() || id.len() > 255 {
                return invalid(
                    "a CVE ID in the allowlist is empty or longer than 255 characters".to_owned(),
                );
            }
            items.push(id.to_owned());
        }
        let mut sorted: Vec<&String> = items.iter().collect();
        sorted.sort_unstable();
        if let Some([twice, ..]) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return invalid(format!("duplicate CVE ID in allowlist: {twice}"));
        }
        Ok(items)
    }
}

fn invalid<T>(why: String) -> Result<T> {
    Err(Cause::invalid(What::Request, why).into())
}

pub(super) async fn get(call: Call) -> Result<Json<CVEAllowlist>> {
    let found = cve_allowlists::of_system(&mut *call.reader().await?).await?;
    Ok(Json(
        found.map_or_else(CVEAllowlist::nobodys, CVEAllowlist::of),
    ))
}

pub(super) async fn put(call: Call, Json(asked): Json<CVEAllowlist>) -> Result<Done> {
    let (items, expires_at, now) = (asked.checked()?, asked.expires_at, call.now());
    call.db()
        .write(move |tx| {
            let items = items.clone();
            Box::pin(
                async move { cve_allowlists::set_of_system(tx, &items, expires_at, now).await },
            )
        })
        .await?;
    Ok(Done)
}
