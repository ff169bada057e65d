//! What the registry holds, for a look.

use std::collections::HashMap;

use db::{
    Conn,
    artifacts::{self, details},
    projects, repositories, tags,
};
use model::{
    Error, Result, What,
    id::{ArtifactId, RepositoryId},
    listing::Listing,
    time::Timestamp,
};
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

/// What lists of the API show too: no accessories, and parts of an index only when they are tagged.
pub(super) async fn artifacts(
    house: &House,
    repository: &RepoName,
    before: i64,
) -> Result<Vec<answer::Artifact>> {
    let mut reader = house.db().reader().await?;
    let within = details::of_repository(find(&mut reader, repository).await?);
    let selection = details::LISTED.select(&Listing::default(), within)?;
    let rows = selection.page(&mut reader, before, PAGE).await?;
    let ids: Vec<ArtifactId> = rows.iter().map(|row| row.id).collect();
    let mut tags: HashMap<ArtifactId, Vec<String>> = HashMap::new();
    for tag in tags::details::of_all(&mut reader, &ids).await? {
        tags.entry(tag.artifact).or_default().push(tag.name);
    }
    let shown = rows.into_iter().map(|row| answer::Artifact {
        digest: row.digest.to_string(),
        kind: row.kind,
        size: row.size,
        tags: tags.remove(&row.id).unwrap_or_default(),
        pushed_at: row.pushed_at.rfc3339(),
        pulled_at: row.pulled_at.map(Timestamp::rfc3339),
    });
    Ok(shown.collect())
}

pub(super) async fn tags(
    house: &House,
    repository: &RepoName,
    after: &str,
) -> Result<Vec<answer::Tag>> {
    let mut reader = house.db().reader().await?;
    let id = find(&mut reader, repository).await?;
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

async fn find(conn: &mut Conn, repository: &RepoName) -> Result<RepositoryId> {
    let found = repositories::find(conn, repository.as_str()).await?;
    let missing = || {
        Error::not_found(
            What::Repository,
            format!("repository `{repository}` not found"),
        )
    };
    found.map(|known| known.id).ok_or_else(missing)
}
