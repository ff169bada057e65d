//! `seawall move`: the database, the contents or both to another place.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use indicatif::HumanBytes;

use super::{
    Place, on_registry,
    screen::{self, Bar, printable, say},
};
use crate::{
    config::sources::ConfigFile,
    control::{
        Session,
        request::{Password, Request},
    },
    moving::{self, Status},
};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The database to move to: `postgres://…` or `sqlite:PATH`; it must be empty
    #[arg(long, value_name = "URL")]
    database_to: Option<String>,
    /// The store to move to: `s3://`, `azure://`, `gs://` or `swift://` with BUCKET/PREFIX, or `file:///DIR`; it must be empty
    #[arg(long, value_name = "URL")]
    storage_to: Option<String>,
    /// A configuration whose sections `database` and `storage` say where to, with passwords and keys
    #[arg(long, value_name = "FILE")]
    to_config: Option<PathBuf>,
    /// Show how far a move has come
    #[arg(long, conflicts_with_all = ["database_to", "storage_to", "to_config", "abort"])]
    status: bool,
    /// Give up a move that has not come to its end
    #[arg(long, conflicts_with_all = ["database_to", "storage_to", "to_config"])]
    abort: bool,
}

pub fn run(args: &Args) -> Result<()> {
    if args.status {
        return on_registry(&args.place, async |session| {
            let status: Status = session.ask(Request::MoveStatus {}).await?;
            show(&status, args.place.json);
            Ok(())
        });
    }
    if args.abort {
        return on_registry(&args.place, async |session| {
            let status: Status = session.ask(Request::MoveAbort {}).await?;
            if args.place.json {
                screen::json(&status);
            } else {
                say(
                    "the move was given up: nothing has changed here. What was copied is of no use, and may be deleted there",
                );
            }
            Ok(())
        });
    }
    let file = args.to_config.as_deref().map(|path| {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok::<_, anyhow::Error>(ConfigFile {
            name: path.display().to_string(),
            text,
        })
    });
    let file = file.transpose()?;
    let to = moving::given(
        file.as_ref(),
        args.database_to.as_deref(),
        args.storage_to.as_deref(),
    )?;
    let to = Password(to.text()?);
    on_registry(&args.place, async |session| {
        begin(session, to.clone(), args.place.json).await
    })
}

async fn begin(session: &Session, to: Password, json: bool) -> Result<()> {
    let bar = Bar::new();
    let status: Status = session
        .follow(Request::MoveBegin { to }, |progress| bar.show(progress))
        .await?;
    drop(bar);
    show(&status, json);
    Ok(())
}

fn show(status: &Status, json: bool) {
    if json {
        return screen::json(status);
    }
    let places = [
        ("database", &status.database),
        ("contents", &status.storage),
    ];
    for (what, place) in places {
        if let Some(place) = place {
            say(&format!("{what} to {}", printable(place)));
        }
    }
    match (status.state.as_str(), &status.report) {
        ("done", Some(report)) => {
            say(&format!(
                "moved: {} rows, {} contents ({}); writers waited {:.1} s",
                report.rows,
                report.contents,
                HumanBytes(report.bytes),
                report.pause_ms as f64 / 1000.0
            ));
            if report.lost > 0 {
                say(&format!(
                    "{} contents could not be read where they were; the next push heals them",
                    report.lost
                ));
                for example in &report.examples {
                    say(&format!("  {}", printable(example)));
                }
            }
            say(
                "DATA/moved.toml says where the registry is now: put its sections into the configuration, then delete it",
            );
        }
        ("running", _) => {
            let total = status
                .total
                .map_or(String::new(), |total| format!(" of {total}"));
            say(&format!("{}: {}{total}", status.doing, status.done));
        }
        ("interrupted", _) => {
            if let Some(error) = &status.error {
                say(&printable(error));
            }
            say("interrupted: give the same command again to go on, or `seawall move --abort`");
        }
        _ => {
            if let Some(error) = &status.error {
                say(&printable(error));
            }
            say("no move runs");
        }
    }
}
