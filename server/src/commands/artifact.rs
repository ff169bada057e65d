//! `seawall artifact`.

use anyhow::Result;
use clap::Subcommand;
use indicatif::HumanBytes;
use oci::name::RepoName;

use super::{
    Place, all, on_registry,
    screen::{self, table},
};
use crate::control::{
    Session,
    answer::{Artifact, Tag},
    request::Request,
};

/// Tags that the list of artifacts names of each.
const SHOWN: usize = 5;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the artifacts of a repository, the newest first
    #[command(alias = "ls")]
    List {
        /// Such as `library/app`
        repository: RepoName,
    },
    /// List the tags of a repository and what they name
    Tags {
        /// Such as `library/app`
        repository: RepoName,
    },
}

pub fn run(args: Args) -> Result<()> {
    let Args { place, command } = args;
    on_registry(&place, async |session| match command {
        Command::List { repository } => list(session, &repository, place.json).await,
        Command::Tags { repository } => tags(session, &repository, place.json).await,
    })
}

async fn list(session: &Session, repository: &RepoName, json: bool) -> Result<()> {
    let mut artifacts: Vec<Artifact> = Vec::new();
    loop {
        let request = Request::ArtifactList {
            repository: repository.clone(),
            before: artifacts.len() as i64,
        };
        let more: Vec<Artifact> = session.ask(request).await?;
        if more.is_empty() {
            break;
        }
        artifacts.extend(more);
    }
    if json {
        screen::json(&artifacts);
        return Ok(());
    }
    let rows: Vec<_> = artifacts
        .iter()
        .map(|artifact| {
            [
                artifact.digest.clone(),
                artifact.kind.clone().unwrap_or_default(),
                HumanBytes(artifact.size.unsigned_abs()).to_string(),
                screen::time(&artifact.pushed_at),
                artifact
                    .pulled_at
                    .as_deref()
                    .map_or_else(|| "never".to_owned(), screen::time),
                some(&artifact.tags),
            ]
        })
        .collect();
    table(
        ["DIGEST", "KIND", "SIZE", "PUSHED", "PULLED", "TAGS"],
        &rows,
        "the repository has no artifacts",
    );
    Ok(())
}

/// Names, as many as fit a line.
fn some(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).map(String::as_str);
    let shown = shown.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

async fn tags(session: &Session, repository: &RepoName, json: bool) -> Result<()> {
    let tags = all(session, |last: Option<&Tag>| Request::TagList {
        repository: repository.clone(),
        after: last.map_or_else(String::new, |tag| tag.name.clone()),
    })
    .await?;
    if json {
        screen::json(&tags);
        return Ok(());
    }
    let rows: Vec<_> = tags
        .iter()
        .map(|tag| [tag.name.clone(), tag.digest.clone(), tag.media_type.clone()])
        .collect();
    table(
        ["TAG", "DIGEST", "MEDIA TYPE"],
        &rows,
        "the repository has no tags",
    );
    Ok(())
}
