//! `seawall artifact`.

use anyhow::Result;
use clap::Subcommand;
use oci::name::RepoName;

use super::{
    Place, all, on_registry,
    screen::{self, table},
};
use crate::control::{answer::Tag, request::Request};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the tags of a repository and what they name
    #[command(alias = "ls")]
    List {
        /// Such as `library/app`
        repository: RepoName,
    },
}

pub fn run(args: Args) -> Result<()> {
    let Args { place, command } = args;
    let Command::List { repository } = command;
    on_registry(&place, async |session| {
        let tags = all(session, |last: Option<&Tag>| Request::TagList {
            repository: repository.clone(),
            after: last.map_or_else(String::new, |tag| tag.name.clone()),
        })
        .await?;
        if place.json {
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
    })
}
