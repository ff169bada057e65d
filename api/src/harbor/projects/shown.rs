//! Projects as the API shows them. A page of them is read in a fixed number of queries.

use auth::{Caller, Subject};
use db::{Conn, cve_allowlists, members, project_metadata, projects};
use model::{
    Result,
    error::internal,
    id::ProjectId,
    metadata::{self, Metadata, PUBLIC},
    role::Role,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::cve_allowlists::CVEAllowlist;

#[derive(Serialize, JsonSchema)]
pub(crate) struct Project {
    project_id: i64,
    owner_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_name: Option<String>,
    name: String,
    creation_time: String,
    update_time: String,
    /// The caller's role with the most rights, when he has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_user_role_id: Option<i64>,
    /// All of the caller's roles, his own and those of his groups.
    current_user_role_ids: Option<Vec<i64>>,
    repo_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<ProjectMetadata>,
    cve_allowlist: CVEAllowlist,
}

/// All values are texts: `true`, `low`, `-1` …
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct ProjectMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) public: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enable_content_trust: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enable_content_trust_cosign: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prevent_vul: Option<String>,
    /// `none`, `low`, `medium`, `high` or `critical`.
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_scan: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_sbom_generation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reuse_sys_cve_allowlist: Option<String>,
    /// Set by the retention policy alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retention_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_speed_kb: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_upstream_conn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_cache_filter_pattern: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_cache_filter_kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_referrer_api: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_cache_local_on_not_found: Option<String>,
}

impl ProjectMetadata {
    /// The values that it has, by their keys.
    pub(super) fn values(&self) -> Result<Metadata> {
        let json = serde_json::to_value(self).map_err(internal("metadata"))?;
        serde_json::from_value(json).map_err(internal("metadata"))
    }

    /// Keys that Harbor does not show are passed over.
    fn of(mut values: Metadata) -> Result<Self> {
        if let Some(severity) = values.get_mut("severity") {
            *severity = metadata::severity(severity).to_owned();
        }
        let json = serde_json::to_value(values).map_err(internal("metadata"))?;
        serde_json::from_value(json).map_err(internal("metadata"))
    }
}

/// These projects, as the caller sees them.
pub(crate) async fn show_all(
    conn: &mut Conn,
    caller: &Caller,
    rows: Vec<projects::Project>,
    with_detail: bool,
) -> Result<Vec<Project>> {
    let ids: Vec<ProjectId> = rows.iter().map(|row| row.id).collect();
    let mut extras = projects::extras(conn, &ids).await?;
    let mut roles = match &caller.subject {
        Subject::User(user) => members::roles_of(conn, user.id, &ids).await?,
        Subject::Anonymous | Subject::Robot(_) => std::collections::HashMap::default(),
    };
    let (mut metadata, mut allowlists) = if with_detail {
        (
            project_metadata::of_all(conn, &ids).await?,
            cve_allowlists::of_all(conn, &ids).await?,
        )
    } else {
        Default::default()
    };
    rows.into_iter()
        .map(|row| {
            let id = row.id.0;
            let extras = extras.remove(&id);
            let roles: Option<Vec<Role>> = roles.remove(&id);
            let (owner, repositories) =
                extras.map_or((None, 0), |extras| (extras.owner, extras.repositories));
            let mut values = metadata.remove(&id).unwrap_or_default();
            values.insert(PUBLIC.to_owned(), row.public.to_string());
            Ok(Project {
                project_id: id,
                owner_id: row.owner.0,
                owner_name: owner.filter(|_| with_detail),
                creation_time: row.created_at.rfc3339(),
                update_time: row.updated_at.rfc3339(),
                current_user_role_id: roles
                    .as_ref()
                    .and_then(|roles| Some(roles.first()?.number())),
                current_user_role_ids: roles
                    .map(|roles| roles.iter().map(|role| role.number()).collect()),
                repo_count: repositories,
                metadata: if with_detail {
                    Some(ProjectMetadata::of(values)?)
                } else {
                    None
                },
                cve_allowlist: match allowlists.remove(&id) {
                    Some(list) => CVEAllowlist::of(list),
                    None if with_detail => CVEAllowlist::empty_of(&row),
                    None => CVEAllowlist::nobodys(),
                },
                name: row.name,
            })
        })
        .collect()
}
