//! `seawall repository`.

use anyhow::Result;
use clap::Subcommand;

use super::{
    Place, all, on_registry,
    screen::{self, say},
};
use crate::control::request::Request;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the repositories that hold something, or all of a project
    List { project: Option<String> },
}

pub fn run(args: Args) -> Result<()> {
    let Args { place, command } = args;
    let Command::List { project } = command;
    on_registry(&place, async |session| {
        let names = all(session, |last: Option<&String>| Request::RepositoryList {
            project: project.clone(),
            after: last.cloned().unwrap_or_default(),
        })
        .await?;
        if place.json {
            screen::json(&names);
        } else if names.is_empty() {
            say("there are no repositories");
        } else {
            say(&names.join("\n"));
        }
        Ok(())
    })
}
