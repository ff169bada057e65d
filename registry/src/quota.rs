//! What a project may hold, asked before bytes come. The transaction that adds them asks again (`db::quotas`).

use db::quotas;
use model::{Result, id::ProjectId};
use oci::digest::Digest;

use crate::Registry;

impl Registry {
    /// Refuses what would exceed the project's quota, so that a client need not send it first. `digest` says what it is, where
    /// that is known: what the project holds already adds nothing. Where it is not known it counts as new, also what the client
    /// could have found there by HEAD.
    pub async fn check_quota(
        &self,
        project: ProjectId,
        adding: u64,
        digest: Option<&Digest>,
    ) -> Result<()> {
        if !self.db().settings().await?.quota_per_project_enable() {
            return Ok(());
        }
        let mut reader = self.db().reader().await?;
        quotas::check(&mut reader, project, adding, digest).await
    }
}
