//! Artifacts: what a repository's manifests are to people, with their tags, labels and accessories.

mod additions;
mod copy;
mod labels;
mod shape;
mod tags;
mod which;

use std::sync::Arc;

use db::{
    artifacts::details::{self, Details},
    counters::{self, Counter},
    immutable::{self, Rules},
    repositories,
};
use model::{Error as Cause, What, listing::Page};
use oci::{Reference, name::RepoName};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    answer::{Done, Listed},
    call::Call,
    error::Result,
    input::{Json, Query, flag},
    page::Wanted,
};

pub(super) use additions::{get as addition, vulnerabilities};
pub(super) use copy::copy;
pub(super) use labels::{add as add_label, remove as remove_label};
pub(super) use shape::{Accessory, Artifact, Switches};
pub(super) use tags::{create as create_tag, delete as delete_tag, list as list_tags};

#[derive(Deserialize, JsonSchema)]
pub(super) struct OfProject {
    /// Of each repository only the newest among those with the `media_type` or the `artifact_type` that `q` names.
    #[serde(default, deserialize_with = "flag")]
    latest_in_repository: Option<bool>,
}

/// The artifacts of a repository; of one that is not there, none.
pub(super) async fn list(call: Call, Query(switches): Query<Switches>) -> Result<Listed<Artifact>> {
    let name = call.repository()?;
    let Wanted { listing, page } = call.wanted()?;
    let found = repositories::find(&mut *call.reader().await?, name.as_str()).await?;
    let Some(repository) = found else {
        return Ok(Listed::whole(Vec::new(), 0));
    };
    let selection = which::of_repository(repository.id, &listing)?;
    let counter = Counter::RepositoryArtifacts(repository.id);
    show(&call, selection, page, switches, counter).await
}

/// The artifacts of all repositories of a project.
pub(super) async fn list_of_project(
    call: Call,
    Query(asked): Query<OfProject>,
    Query(switches): Query<Switches>,
) -> Result<Listed<Artifact>> {
    if !call.caller.is_authenticated() {
        return Err(Cause::Unauthenticated.into());
    }
    let latest = asked.latest_in_repository.unwrap_or(false);
    let Wanted { listing, page } = call.wanted()?;
    let selection = which::of_project(call.project(), &listing, latest)?;
    let counter = Counter::ProjectArtifacts(call.project());
    show(&call, selection, page, switches, counter).await
}

pub(super) async fn get(call: Call, Query(switches): Query<Switches>) -> Result<Json<Artifact>> {
    let row = find(&call).await?;
    let rules = rules(&call, switches).await?;
    let conn = &mut *call.reader().await?;
    let mut shown = shape::show(conn, vec![row], switches, &rules).await?;
    let artifact = shown.pop();
    artifact
        .map(Json)
        .ok_or_else(|| Cause::Internal(anyhow::anyhow!("one artifact was shown as none")).into())
}

pub(super) async fn delete(call: Call) -> Result<Done> {
    let (name, row) = (call.repository()?, find(&call).await?);
    call.registry().delete_manifest(&name, &row.digest).await?;
    Ok(Done)
}

pub(super) async fn list_accessories(call: Call) -> Result<Listed<Accessory>> {
    let row = find(&call).await?;
    let within = details::attached_to(row.repository, &row.digest);
    let Wanted { listing, page } = call.wanted()?;
    let selection = details::ACCESSORIES.select(&listing, within)?;
    call.listed(selection, page, None, Accessory::from).await
}

/// `counter` knows how long the whole list is.
async fn show(
    call: &Call,
    selection: which::Selected,
    page: Page,
    switches: Switches,
    counter: Counter,
) -> Result<Listed<Artifact>> {
    let rules = Arc::new(rules(call, switches).await?);
    let known = if selection.is_whole {
        Some(counters::value(&mut *call.reader().await?, counter).await?)
    } else {
        None
    };
    call.listed_by(selection.rows, page, known, move |conn, rows| {
        let rules = rules.clone();
        Box::pin(async move { shape::show(conn, rows, switches, &rules).await })
    })
    .await
}

/// The rules of the project where the status of tags is asked for.
async fn rules(call: &Call, switches: Switches) -> Result<Rules> {
    let wanted =
        switches.with_tag.unwrap_or(true) && switches.with_immutable_status.unwrap_or(false);
    if !wanted {
        return Ok(Rules::default());
    }
    Ok(immutable::rules(&mut *call.reader().await?, call.project()).await?)
}

/// The artifact that the path names by a tag or a digest.
async fn find(call: &Call) -> Result<Details> {
    let name = call.repository()?;
    let reference = reference(call.param("reference"))?;
    let conn = &mut *call.reader().await?;
    let repository = repositories::find(conn, name.as_str()).await?;
    let found = match (repository, &reference) {
        (None, _) => None,
        (Some(repository), Reference::Tag(tag)) => {
            details::find_tagged(conn, repository.id, tag.as_str()).await?
        }
        (Some(repository), Reference::Digest(digest)) => {
            details::find(conn, repository.id, digest).await?
        }
    };
    found.ok_or_else(|| missing(&name, &reference).into())
}

/// What no tag or digest can be is not there.
fn reference(told: &str) -> Result<Reference> {
    told.parse().map_err(|_| {
        let shown: String = told.chars().take(150).collect();
        Cause::not_found(What::Manifest, format!("artifact {shown} not found")).into()
    })
}

fn missing(name: &RepoName, reference: &Reference) -> Cause {
    let mark = if matches!(reference, Reference::Tag(_)) {
        ':'
    } else {
        '@'
    };
    Cause::not_found(
        What::Manifest,
        format!("artifact {name}{mark}{reference} not found"),
    )
}
