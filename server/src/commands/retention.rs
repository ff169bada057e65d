//! `seawall retention`: what a policy would do, before it does.

use anyhow::Result;
use clap::Subcommand;

use super::{
    Place, on_registry,
    screen::{self, Bar, printable, say, table},
};
use crate::control::{
    answer::{Explanation, JudgedArtifact, JudgedRepository},
    request::Request,
};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Judge what a project holds by its policy, and say of each artifact what becomes of it and why; nothing is changed
    Explain {
        /// A project, or one of its repositories: `library` or `library/app`
        #[arg(value_name = "PROJECT[/REPOSITORY]")]
        what: String,
        /// Artifacts that are named
        #[arg(long, default_value_t = 1000)]
        limit: usize,
        /// Name only what would be deleted
        #[arg(long)]
        deleted: bool,
    },
}

pub fn run(args: Args) -> Result<()> {
    let Args { place, command } = args;
    let Command::Explain {
        what,
        limit,
        deleted,
    } = command;
    let (project, repository) = match what.split_once('/') {
        Some((project, repository)) => (project.to_owned(), Some(repository.to_owned())),
        None => (what, None),
    };
    on_registry(&place, async |session| {
        let bar = Bar::new();
        let request = Request::RetentionExplain {
            project: project.clone(),
            repository: repository.clone(),
            limit,
            deleted,
        };
        let told: Vec<Explanation> = session
            .follow(request, |progress| bar.show(progress))
            .await?;
        drop(bar);
        if place.json {
            screen::json(&told);
        } else if told.is_empty() {
            say("the project has no repositories");
        } else {
            for one in &told {
                show(one, deleted);
            }
        }
        Ok(())
    })
}

fn show(told: &Explanation, deleted: bool) {
    let Some(judged) = &told.judged else {
        return say(&format!(
            "{}: no rule is about it, everything stays",
            printable(&told.repository)
        ));
    };
    let JudgedRepository {
        total,
        retained,
        artifacts,
    } = judged;
    say(&format!(
        "{}: {retained} of {total} artifacts stay, {} would be deleted",
        printable(&told.repository),
        total - retained
    ));
    if !artifacts.is_empty() {
        let rows: Vec<_> = artifacts.iter().map(row).collect();
        table(["", "DIGEST", "TAGS", "PUSHED", "PULLED", "WHY"], &rows, "");
    }
    let wanted = if deleted { total - retained } else { *total };
    if artifacts.len() < wanted {
        let more = wanted - artifacts.len();
        say(&format!("{more} more are not named: see `--limit`"));
    }
}

fn row(artifact: &JudgedArtifact) -> [String; 6] {
    let more = artifact.tag_count - artifact.tags.len() as u64;
    let mut tags = artifact.tags.join(", ");
    if more > 0 {
        tags = format!("{tags} and {more} more");
    }
    [
        if artifact.stays { "keep" } else { "delete" }.to_owned(),
        short(&artifact.digest),
        tags,
        screen::time(&artifact.pushed_at),
        artifact
            .pulled_at
            .as_deref()
            .map_or("never".to_owned(), screen::time),
        artifact.why.clone(),
    ]
}

/// Enough of a digest to know it by.
fn short(digest: &str) -> String {
    digest.chars().take(19).collect()
}
