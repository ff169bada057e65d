//! `seawall scrub`: everything that is stored, read now.

use anyhow::Result;
use indicatif::HumanBytes;

use super::{
    Place, Told, on_registry,
    screen::{self, Bar, printable, say},
};
use crate::control::{answer::Scrubbed, request::Request};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
}

/// Fails when something is lost, so that a script hears of it.
pub fn run(args: &Args) -> Result<()> {
    on_registry(&args.place, async |session| {
        let bar = Bar::new();
        let done: Scrubbed = session
            .follow(Request::Scrub {}, |progress| bar.show(progress))
            .await?;
        drop(bar);
        if args.place.json {
            screen::json(&done);
        } else {
            say(&format!(
                "{} contents read, {}: {} lost",
                done.checked,
                HumanBytes(done.bytes),
                done.lost
            ));
            for line in &done.details {
                say(&format!("  {}", printable(line)));
            }
        }
        if done.lost > 0 {
            Err(Told.into())
        } else {
            Ok(())
        }
    })
}
