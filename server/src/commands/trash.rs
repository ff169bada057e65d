//! `seawall trash`: what was deleted and may come back.

use anyhow::Result;
use clap::Subcommand;
use indicatif::HumanBytes;

use super::{
    Place, on_registry,
    screen::{self, say, table},
};
use crate::control::{
    answer::{Restored, TrashItem, TrashedProject},
    request::{PAGE, Request},
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
    /// List what was deleted from a project, or the projects that were deleted, the last first
    #[command(visible_alias = "ls")]
    List { project: Option<String> },
    /// Bring something back, with its tags and what belongs to it
    Restore {
        /// The number that `trash list PROJECT` shows
        id: i64,
        /// Everything that was deleted from its repository at once
        #[arg(long)]
        all: bool,
    },
    /// End something for good; the next collection frees its space
    Delete {
        /// The number that `trash list PROJECT` shows
        id: i64,
    },
}

pub fn run(args: Args) -> Result<()> {
    let Args { place, command } = args;
    on_registry(&place, async |session| {
        match command {
            Command::List { project: None } => {
                let mut all: Vec<TrashedProject> = Vec::new();
                loop {
                    let before = all.len() as i64;
                    let page: Vec<TrashedProject> =
                        session.ask(Request::TrashedProjects { before }).await?;
                    let is_last = (page.len() as i64) < PAGE;
                    all.extend(page);
                    if is_last {
                        break;
                    }
                }
                show_projects(&all, place.json);
            }
            Command::List {
                project: Some(project),
            } => {
                let mut all: Vec<TrashItem> = Vec::new();
                loop {
                    let request = Request::TrashList {
                        project: project.clone(),
                        before: all.len() as i64,
                    };
                    let page: Vec<TrashItem> = session.ask(request).await?;
                    let is_last = (page.len() as i64) < PAGE;
                    all.extend(page);
                    if is_last {
                        break;
                    }
                }
                show_list(&all, place.json);
            }
            Command::Restore { id, all } => {
                let done: Restored = session.ask(Request::TrashRestore { id, all }).await?;
                if place.json {
                    screen::json(&done);
                } else {
                    show_restored(&done);
                }
            }
            Command::Delete { id } => {
                session.ask::<()>(Request::TrashDelete { id }).await?;
                screen::done("trash", &id.to_string(), "ended for good", place.json);
            }
        }
        Ok(())
    })
}

fn show_list(items: &[TrashItem], json: bool) {
    if json {
        return screen::json(&items);
    }
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            [
                item.id.to_string(),
                item.repository.clone(),
                item.digest.chars().take(19).collect(),
                item.tags.join(", "),
                if item.manifest {
                    HumanBytes(item.size.unsigned_abs()).to_string()
                } else {
                    "tags only".to_owned()
                },
                format!("{} by {}", item.cause, item.deleted_by),
                screen::time(&item.deleted_at),
                screen::time(&item.expires_at),
            ]
        })
        .collect();
    table(
        [
            "ID",
            "REPOSITORY",
            "DIGEST",
            "TAGS",
            "SIZE",
            "WHY",
            "DELETED",
            "GONE AFTER",
        ],
        &rows,
        "the trash is empty",
    );
}

fn show_projects(projects: &[TrashedProject], json: bool) {
    if json {
        return screen::json(&projects);
    }
    let rows: Vec<_> = projects
        .iter()
        .map(|project| {
            [
                project.name.clone(),
                project.deleted_by.clone(),
                screen::time(&project.deleted_at),
                screen::time(&project.expires_at),
            ]
        })
        .collect();
    table(
        ["PROJECT", "DELETED BY", "DELETED", "GONE AFTER"],
        &rows,
        "no project is in the trash",
    );
}

fn show_restored(done: &Restored) {
    say(&format!(
        "{} manifests and {} tags are back",
        done.manifests, done.tags
    ));
    if !done.taken.is_empty() {
        say(&format!(
            "left where they are by now: {}",
            screen::printable(&done.taken.join(", "))
        ));
    }
}
