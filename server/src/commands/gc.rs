//! `seawall gc`: the collection that the server does by itself now and then, now.

use anyhow::Result;
use indicatif::HumanBytes;
use serde::{Deserialize, Serialize};

use super::{
    Place, on_registry,
    screen::{self, Bar, say, table},
};
use crate::control::{Session, answer::Collected, request::Request};

/// Contents that a dry run names.
const SHOWN: usize = 1000;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Say what would go and why, and leave everything as it is
    #[arg(long)]
    dry_run: bool,
    /// Delete manifests without a tag first, unless an index or a subject keeps them
    #[arg(long, conflicts_with = "dry_run")]
    untagged: bool,
}

/// What would go.
#[derive(Serialize, Deserialize)]
struct Candidate {
    digest: String,
    size: u64,
    repository: Option<String>,
    frees_bytes: bool,
    why: String,
}

pub fn run(args: &Args) -> Result<()> {
    on_registry(&args.place, async |session| {
        if args.dry_run {
            preview(session, args.place.json).await
        } else {
            collect(session, args.untagged, args.place.json).await
        }
    })
}

async fn collect(session: &Session, untagged: bool, json: bool) -> Result<()> {
    let bar = Bar::new();
    let done: Collected = session
        .follow(Request::Collect { untagged }, |progress| bar.show(progress))
        .await?;
    drop(bar);
    if json {
        screen::json(&done);
    } else if done.freed == 0 && done.links_ended == 0 && done.purged_manifests == 0 {
        say("nothing to collect");
    } else {
        if done.purged_manifests > 0 {
            say(&format!(
                "{} manifests without a tag deleted",
                done.purged_manifests
            ));
        }
        say(&format!(
            "{} contents freed, {}; {} were taken from their repositories",
            done.freed,
            HumanBytes(done.bytes_freed),
            done.links_ended
        ));
    }
    Ok(())
}

async fn preview(session: &Session, json: bool) -> Result<()> {
    let candidates: Vec<Candidate> = session
        .ask(Request::CollectPreview { limit: SHOWN })
        .await?;
    if json {
        screen::json(&candidates);
        return Ok(());
    }
    let rows: Vec<_> = candidates
        .iter()
        .map(|candidate| {
            [
                candidate.digest.clone(),
                HumanBytes(candidate.size).to_string(),
                candidate.why.clone(),
            ]
        })
        .collect();
    table(["DIGEST", "SIZE", "WHY"], &rows, "nothing would go");
    if candidates.len() == SHOWN {
        say(&format!("These are the first {SHOWN}."));
    }
    Ok(())
}
