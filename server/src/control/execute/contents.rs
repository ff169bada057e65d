//! What the registry holds, for a look.

use db::{artifacts, projects, repositories, tags};
use model::{Error, Result, What};
use oci::name::RepoName;

use super::House;
use crate::control::{answer, request::PAGE};

/// Names of repositories; without a project of all that hold something.
pub(super) async fn repositories(
    house: &House,
    project: Option<&str>,
    after: &str,
) -> Result<Vec<String>> {
    let mut reader = house.db().reader().await?;
    let Some(project) = project else {
        return repositories::catalog(&mut reader, after, PAGE).await;
    };
    let project = projects::get_name(&mut reader, project).await?;
    repositories::list(&mut reader, project.id, after, PAGE).await
}

pub(super) async fn tags(
    house: &House,
    repository: &RepoName,
    after: &str,
) -> Result<Vec<answer::Tag>> {
    let mut reader = house.db().reader().await?;
    let id = repositories::find(&mut reader, repository.as_str())
        .await?
        .map(|known| known.id);
    let id = id.ok_or_else(|| {
        Error::not_found(
            What::Repository,
            format!("repository `{repository}` not found"),
        )
    })?;
    let mut shown = Vec::new();
    for name in tags::list(&mut reader, id, after, PAGE).await? {
        // One that was deleted since the list was read is passed over.
        if let Some(artifact) = artifacts::find_tagged(&mut reader, id, &name).await? {
            shown.push(answer::Tag {
                name,
                digest: artifact.digest.to_string(),
                media_type: artifact.media_type,
            });
        }
    }
    Ok(shown)
}
