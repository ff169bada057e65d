//! `seawall import`: the tree of another registry becomes this one's store, where it lies.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Result, bail};
use clap::{Subcommand, ValueEnum};
use indicatif::HumanBytes;
use model::name::ProjectName;
use registry::import::{
    self, ImportOptions, ImportReport, ImportStatus, Left, Mapping, Rules, Source,
};
use tokio_util::sync::CancellationToken;

use super::{
    Place, Told, block_on, on_registry,
    screen::{self, Bar, printable, say, time},
};
use crate::{
    boot::{self, ADMIN},
    config::Config,
    control::{Session, execute::import::shown, request::Request},
};

/// Why the old registry must not run.
const STOPPED: &str = "while it runs it may delete what this one serves, and what is pushed to it after the walk is not taken over";

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Take over the tree of another registry where it lies, without copying: storage.url names it
    Blobs(Blobs),
    /// See how an import stands
    Status,
    /// Declare an import finished: what nothing names is free to be collected from then on
    Finish {
        /// Ask nothing
        #[arg(long)]
        yes: bool,
    },
}

#[derive(clap::Args)]
struct Blobs {
    /// Whose tree it is
    #[arg(long, value_enum)]
    from: From,
    /// The project of all repositories that no --map is about
    #[arg(long, value_name = "PROJECT")]
    into: Option<ProjectName>,
    /// The project of the repositories whose names begin with PREFIX, which is replaced; may be given several times
    #[arg(long = "map", value_name = "PREFIX=PROJECT")]
    mappings: Vec<Mapping>,
    /// Make projects that are not there, private ones
    #[arg(long)]
    create_projects: bool,
    /// Say what would be taken over, and leave everything as it is
    #[arg(long)]
    dry_run: bool,
    /// The registry that wrote this tree has been stopped, and will not be started on it again
    #[arg(long)]
    old_registry_is_stopped: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum From {
    /// Docker's registry (distribution): contents, repositories, manifests and tags
    Docker,
    /// Harbor's registry: contents alone
    Harbor,
}

pub fn run(args: Args) -> Result<()> {
    let Args { place, command } = args;
    match command {
        Command::Blobs(wanted) => {
            let config = place.config()?;
            block_on(blobs(&config, wanted, place.json))
        }
        Command::Status => on_registry(&place, async |session| {
            let status: ImportStatus = session.ask(Request::ImportStatus {}).await?;
            if place.json {
                screen::json(&status);
            } else {
                show_status(&status);
            }
            Ok(())
        }),
        Command::Finish { yes } => on_registry(&place, async |session| {
            finish(session, yes, place.json).await
        }),
    }
}

/// Fails when something of the old registry is not here afterwards.
async fn blobs(config: &Config, wanted: Blobs, json: bool) -> Result<()> {
    let (dry_run, is_stopped) = (wanted.dry_run, wanted.old_registry_is_stopped);
    let options = ImportOptions {
        source: match wanted.from {
            From::Docker => Source::Docker,
            From::Harbor => Source::Harbor,
        },
        rules: Rules {
            into: wanted.into,
            mappings: wanted.mappings,
            create_projects: wanted.create_projects,
        },
    };
    if !dry_run && !is_stopped {
        let question = format!("Is the old registry stopped for good? ({STOPPED})");
        if !asked(&question)? {
            bail!(
                "stop the old registry first, and say so with --old-registry-is-stopped: {STOPPED}"
            );
        }
    }
    let (report, password) = if dry_run && !Session::is_served(config).await? {
        (survey(config, &options).await?, None)
    } else {
        let (session, password) = Session::open_to_import(config).await?;
        let report = import(&session, options, dry_run).await;
        session.close().await;
        // Made before anything went wrong, and not shown again.
        if report.is_err() {
            show_password(password.as_deref());
        }
        (report?, password)
    };
    if json {
        let mut answer = serde_json::to_value(&report)?;
        answer["dry_run"] = dry_run.into();
        if let Some(password) = &password {
            answer["admin_password"] = password.as_str().into();
        }
        screen::json(&answer);
    } else {
        show_report(&report, dry_run);
        show_password(password.as_deref());
    }
    let is_whole = report.complete && report.left.keys().all(|left| !left.is_fault());
    if is_whole { Ok(()) } else { Err(Told.into()) }
}

async fn import(session: &Session, options: ImportOptions, dry_run: bool) -> Result<ImportReport> {
    let bar = Bar::new();
    let request = Request::ImportBlobs { options, dry_run };
    session.follow(request, |progress| bar.show(progress)).await
}

async fn survey(config: &Config, options: &ImportOptions) -> Result<ImportReport> {
    let (store, db, _held) = boot::open_to_survey(config).await?;
    let bar = Bar::new();
    let show = |done: &_| bar.show(shown(done));
    let cancel = CancellationToken::new();
    let report = import::survey(&store, db.as_ref(), options, &cancel, show).await;
    if let Some(db) = db {
        db.close().await;
    }
    Ok(report?)
}

fn show_report(report: &ImportReport, dry_run: bool) {
    let done = &report.done;
    let contents = format!("{} contents, {}", done.contents, HumanBytes(done.bytes));
    if dry_run {
        say(&format!("{contents}, are in the tree; nothing was changed"));
    } else {
        say(&format!(
            "{contents}, are here; {} of them are new, {}. Nothing was copied",
            done.adopted,
            HumanBytes(done.adopted_bytes)
        ));
    }
    match report.source {
        Source::Docker => say(&format!(
            "{} manifests and {} tags in {} repositories",
            done.manifests, done.tags, done.repositories
        )),
        Source::Harbor => say(
            "no repositories, manifests or tags: Harbor keeps those in its database, and what this tree says of them is out of date. Do not finish this import before that database was imported",
        ),
    }
    if done.uploads > 0 {
        say(&format!(
            "{} uploads of the old registry that did not end, {}, stay in its `_uploads` and may be deleted by hand",
            done.uploads,
            HumanBytes(done.upload_bytes)
        ));
    }
    for (left, tally) in &report.left {
        say(&format!("{} {}", tally.count, left.words()));
        for example in &tally.examples {
            say(&format!("  {}", printable(example)));
        }
        let more = tally.count - tally.examples.len() as u64;
        if more > 0 {
            say(&format!("  and {more} more"));
        }
    }
    if let Some(at) = &report.written_at {
        say(&format!(
            "the old registry last wrote there at {}",
            time(at)
        ));
    }
    if report.changed > 0 {
        say(&format!(
            "{} files were written while this ran or within a minute before: is the old registry stopped? Stop it, and run this again",
            report.changed
        ));
    }
    if report.left.contains_key(&Left::Unreadable) {
        say(
            "Run this as a user who may read and write all of it, or give the files to this one (Harbor's belong to user 10000)",
        );
    }
    if !dry_run && report.complete {
        say(
            "Each content is read before it is first served; `seawall scrub` reads all of them now",
        );
        if report.source == Source::Docker {
            say("When all is as it should be: `seawall import finish`");
        }
    }
    if !report.complete {
        say("This is not all of it: run it again");
    }
}

fn show_password(password: Option<&str>) {
    if let Some(password) = password {
        say(&format!(
            "Sign in as user `{ADMIN}` with password `{password}`. It is not shown again."
        ));
    }
}

async fn finish(session: &Session, yes: bool, json: bool) -> Result<()> {
    let before: ImportStatus = session.ask(Request::ImportStatus {}).await?;
    if before.import.finished_at.is_none() && !yes {
        let mut warning = format!(
            "{} contents, {}, are named by nothing and go with the next collection",
            before.unneeded,
            HumanBytes(before.unneeded_bytes)
        );
        if before.import.complete_at.is_none() {
            warning.push_str("; and no run of `seawall import blobs` has seen all of the tree yet");
        }
        if before.import.source == Source::Harbor {
            warning.push_str("; Harbor's database, which names them, was not imported");
        }
        if !asked(&format!("{warning}. Finish the import?"))? {
            bail!("{warning}. `--yes` finishes the import all the same");
        }
    }
    let bar = Bar::new();
    let after: ImportStatus = session
        .follow(Request::ImportFinish {}, |progress| bar.show(progress))
        .await?;
    drop(bar);
    if json {
        screen::json(&after);
    } else {
        say(
            "The import is finished. What nothing names goes with the next collection (`seawall gc --dry-run` says what)",
        );
    }
    Ok(())
}

fn show_status(status: &ImportStatus) {
    let import = &status.import;
    let begun = time(&import.begun_at);
    say(&match (&import.finished_at, &import.complete_at) {
        (Some(finished), _) => format!(
            "an import from {}, begun {begun}, was finished {}",
            import.source.as_str(),
            time(finished)
        ),
        (None, Some(complete)) => format!(
            "an import from {}, begun {begun}, is open; a run that saw the whole tree ended {}",
            import.source.as_str(),
            time(complete)
        ),
        (None, None) => format!(
            "an import from {}, begun {begun}, is open, and no run has seen the whole tree yet",
            import.source.as_str()
        ),
    });
    if import.finished_at.is_none() {
        say(&format!(
            "{} contents, {}, are held by it; {} of them, {}, by nothing else",
            status.held,
            HumanBytes(status.held_bytes),
            status.unneeded,
            HumanBytes(status.unneeded_bytes)
        ));
    }
    say(&format!(
        "{} contents, {}, were not read yet; {} are missing or damaged",
        status.unread,
        HumanBytes(status.unread_bytes),
        status.lost
    ));
}

/// Asks a person at a terminal; nobody, and so no, where there is none.
fn asked(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(false);
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
