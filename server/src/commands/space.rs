//! `seawall space`: where the space went.

use anyhow::Result;
use indicatif::HumanBytes;
use registry::space::{Part, Space};

use super::{
    Place, on_registry,
    screen::{self, Bar, say, table},
};
use crate::control::request::Request;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Show what was found the last time, rather than measure now
    #[arg(long)]
    last: bool,
}

pub fn run(args: &Args) -> Result<()> {
    on_registry(&args.place, async |session| {
        let bar = Bar::new();
        let request = Request::Space {
            measure: !args.last,
        };
        let space: Space = session
            .follow(request, |progress| bar.show(progress))
            .await?;
        drop(bar);
        if args.place.json {
            screen::json(&space);
        } else {
            show(&space);
        }
        Ok(())
    })
}

fn show(space: &Space) {
    let Some(measured_at) = &space.measured_at else {
        return say("nothing was measured yet");
    };
    let row = |name: &str, part: Part, what: &str| {
        [
            name.to_owned(),
            HumanBytes(part.bytes).to_string(),
            part.files.to_string(),
            what.to_owned(),
        ]
    };
    let rows = [
        row("projects", space.projects, "used by one project alone"),
        row("shared", space.shared, "used by several projects"),
        row("trash", space.trash, "deleted, and may come back"),
        row("uploads", space.uploads, "not finished"),
        row(
            "waiting",
            space.waiting,
            "kept by nothing: goes with one of the next collections",
        ),
        row(
            "unknown",
            space.unknown,
            "no row knows it: `seawall fsck` has more to say",
        ),
        row("all", space.stored, "what the store holds"),
    ];
    table(["PART", "SIZE", "FILES", ""], &rows, "");
    say(&format!("Measured {}.", screen::time(measured_at)));
}
