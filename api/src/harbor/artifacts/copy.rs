//! Copying an artifact from another repository, which may be of another project.

use db::{artifacts::details, repositories};
use model::{
    Error as Cause, What,
    permission::{Action, Resource},
};
use oci::{Digest, Reference, name::RepoName};
use registry::push::Target;
use schemars::JsonSchema;
use serde::Deserialize;

use super::missing;
use crate::harbor::{
    access,
    answer::Created,
    call::Call,
    error::{Error, Result},
    input::Query,
};

#[derive(Deserialize, JsonSchema)]
pub(crate) struct From {
    /// `project/repository:tag` or `project/repository@digest`.
    from: Option<String>,
}

pub(crate) async fn copy(call: Call, Query(asked): Query<From>) -> Result<Created> {
    let from = asked.from.unwrap_or_default();
    if from.is_empty() {
        return Err(Error::Unprocessable("from in query is required".to_owned()));
    }
    let (name, told) = split(&from)?;
    access::require_in(&call, name.project(), Resource::Artifact, Action::Read).await?;
    let reference = told
        .ok_or_else(|| Cause::not_found(What::Manifest, format!("artifact {name}: not found")))?;
    let digest = source(&call, &name, &reference).await?;
    let target = Target {
        project: call.project(),
        name: call.repository()?,
    };
    let registry = call.registry();
    registry.copy_artifact(&target, &name, &digest).await?;
    Ok(Created(reference.to_string()))
}

/// The repository, and the tag or digest where there is one.
fn split(from: &str) -> std::result::Result<(RepoName, Option<Reference>), Cause> {
    let malformed = || {
        let shown: String = from.chars().take(300).collect();
        Cause::invalid(What::Query, format!("invalid input: {shown}"))
    };
    let (name, reference) = match from.split_once('@').or_else(|| from.split_once(':')) {
        None => (from, None),
        Some((name, reference)) => (name, Some(reference)),
    };
    // With both a tag and a digest the digest counts.
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    let name: RepoName = name.parse().map_err(|_| malformed())?;
    let reference = reference
        .map(str::parse)
        .transpose()
        .map_err(|_| malformed())?;
    if name.borrowed().repository().is_none()
        || (from.contains('@') && !is_digest(reference.as_ref()))
    {
        return Err(malformed());
    }
    Ok((name, reference))
}

fn is_digest(reference: Option<&Reference>) -> bool {
    matches!(reference, Some(Reference::Digest(_)))
}

/// The digest of what is to be copied. What is attached to something else goes with that alone.
async fn source(call: &Call, name: &RepoName, reference: &Reference) -> Result<Digest> {
    let conn = &mut *call.reader().await?;
    let repository = repositories::find(conn, name.as_str()).await?;
    let found = match (repository, reference) {
        (None, _) => None,
        (Some(repository), Reference::Tag(tag)) => {
            details::find_tagged(conn, repository.id, tag.as_str()).await?
        }
        (Some(repository), Reference::Digest(digest)) => {
            details::find(conn, repository.id, digest).await?
        }
    };
    let found = found.ok_or_else(|| missing(name, reference))?;
    if found.accessory.is_some() {
        let refused = "the operation isn't supported for an artifact accessory";
        return Err(Cause::Denied(refused.to_owned()).into());
    }
    Ok(found.digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_repository_with_a_tag_or_a_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let both = format!("library/app:v1@{digest}");
        let named = format!("library/deep/app@{digest}");
        for (from, name, reference) in [
            ("library/app:v1", "library/app", Some("v1")),
            (&named, "library/deep/app", Some(digest.as_str())),
            (&both, "library/app", Some(&digest)),
            ("library/app", "library/app", None),
        ] {
            let (found, told) = split(from).expect(from);
            assert_eq!(found.as_str(), name);
            assert_eq!(told.map(|told| told.to_string()).as_deref(), reference);
        }
        for refused in [
            "",
            "app:v1",
            "library/app@v1",
            "library/app:v 1",
            "LIB/app:v1",
            "library/app@sha256:aa",
        ] {
            assert!(split(refused).is_err(), "{refused}");
        }
    }
}
