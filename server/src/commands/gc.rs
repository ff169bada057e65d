//! `seawall gc`: the collection that the server does by itself now and then, now.

use anyhow::Result;
use indicatif::HumanBytes;

use super::{
    Place, on_registry,
    screen::{self, Bar, say, table},
};
use crate::control::{
    Session,
    answer::{CollectPreview, Collected},
    request::Request,
};

/// Things of a kind that a dry run names.
const SHOWN: usize = 1000;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Say what would go and why, and leave everything as it is
    #[arg(long)]
    dry_run: bool,
    /// Delete manifests without a tag first, unless an index or a subject keeps them
    #[arg(long)]
    untagged: bool,
}

pub fn run(args: &Args) -> Result<()> {
    on_registry(&args.place, async |session| {
        if args.dry_run {
            preview(session, args.untagged, args.place.json).await
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

async fn preview(session: &Session, untagged: bool, json: bool) -> Result<()> {
    let bar = Bar::new();
    let request = Request::CollectPreview {
        untagged,
        limit: SHOWN,
    };
    let preview: CollectPreview = session
        .follow(request, |progress| bar.show(progress))
        .await?;
    drop(bar);
    if json {
        screen::json(&preview);
        return Ok(());
    }
    if untagged {
        let rows: Vec<_> = preview.untagged.iter().map(|one| [one.clone()]).collect();
        table(["WITHOUT A TAG"], &rows, "no manifest is without a tag");
        first(preview.untagged.len(), preview.untagged_count);
        say("");
    }
    let rows: Vec<_> = preview
        .contents
        .iter()
        .map(|content| {
            [
                content.digest.clone(),
                HumanBytes(content.size).to_string(),
                content.why.clone(),
            ]
        })
        .collect();
    table(["DIGEST", "SIZE", "WHY"], &rows, "nothing would be freed");
    if preview.contents.len() == SHOWN {
        say(&format!("These are the first {SHOWN}."));
    }
    Ok(())
}

fn first(shown: usize, total: u64) {
    if (shown as u64) < total {
        say(&format!("These are the first {shown} of {total}."));
    }
}
