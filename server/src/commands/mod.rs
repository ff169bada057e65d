//! The command line. What looks after a registry goes through a [`Session`]: to the server that runs on the data directory,
//! or to the registry itself when none runs.

mod artifact;
mod check;
mod fsck;
mod gc;
mod health;
mod import;
mod job;
mod key;
mod migrate;
mod move_away;
mod node;
mod project;
mod repository;
mod retention;
mod robot;
mod scrub;
mod serve;
mod space;
mod trash;
mod user;

mod screen;

use std::{
    io::{self, BufRead, Read},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use serde::de::DeserializeOwned;
use tracing_subscriber::filter::LevelFilter;

use self::screen::{complain, say};
use crate::{
    config::{Config, Flags, Sources},
    control::{
        Session,
        request::{Password, Request},
    },
    moving,
};

/// A container registry: Harbor's API and docker's protocol in one process.
#[derive(Parser)]
#[command(
    name = "seawall",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Commands that look after a registry ask the server that runs on the data directory; with none running\n\
                  they open the directory themselves. docs/commands.md tells about each."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Args),
    /// Look at the configuration and at everything the server needs, and say what to do
    Check(check::Args),
    /// Ask a server how it is: exit code 0 ready, 1 not ready, 2 no answer
    Health(health::Args),
    /// Manage users
    User(user::Args),
    /// Manage projects and their members
    Project(project::Args),
    /// Manage robots, the accounts of programs
    Robot(robot::Args),
    /// Look at repositories
    Repository(repository::Args),
    /// Look at what a repository holds
    Artifact(artifact::Args),
    /// Free what nothing names any more
    Gc(gc::Args),
    /// See where the space went
    Space(space::Args),
    /// See what a retention policy would do, and why
    Retention(retention::Args),
    /// Look at what was deleted, and bring it back
    Trash(trash::Args),
    /// Compare database and store, both ways
    Fsck(fsck::Args),
    /// Read all stored content again and compare it with its digest
    Scrub(scrub::Args),
    /// Take over what another registry has stored
    Import(import::Args),
    /// Change the keys that sign and encrypt
    Key(key::Args),
    /// Look at the nodes that serve this registry, and drain them
    Node(node::Args),
    /// Look at jobs, read their logs, stop them
    Job(job::Args),
    /// Bring the database's schema up to date, or see what that would do
    Migrate(migrate::Args),
    /// Move the database, the contents or both elsewhere, while the server runs
    Move(move_away::Args),
    /// Show the version
    Version {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs what the command line says.
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(&args),
        Command::Health(args) => return health::run(&args),
        Command::User(args) => user::run(args),
        Command::Project(args) => project::run(args),
        Command::Robot(args) => robot::run(args),
        Command::Repository(args) => repository::run(args),
        Command::Artifact(args) => artifact::run(args),
        Command::Gc(args) => gc::run(&args),
        Command::Space(args) => space::run(&args),
        Command::Retention(args) => retention::run(args),
        Command::Trash(args) => trash::run(args),
        Command::Fsck(args) => fsck::run(&args),
        Command::Scrub(args) => scrub::run(&args),
        Command::Import(args) => import::run(args),
        Command::Key(args) => key::run(args),
        Command::Node(args) => node::run(args),
        Command::Job(args) => job::run(args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Move(args) => move_away::run(&args),
        Command::Version { json } => {
            version(json);
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<Told>() {
                complain(&error);
            }
            ExitCode::FAILURE
        }
    }
}

fn version(json: bool) {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        screen::json(&serde_json::json!({ "version": version }));
    } else {
        say(&format!("seawall {version}"));
    }
}

/// What was wrong has been shown; only the exit code is left to say so.
#[derive(Debug, thiserror::Error)]
#[error("not all is well")]
struct Told;

/// The heading of what all commands understand.
const COMMON: &str = "Common options";

/// Where the registry is, and how to answer.
#[derive(Clone, clap::Args)]
struct Place {
    /// The configuration file [default: /etc/seawall/seawall.toml, if it exists]
    #[arg(long, value_name = "FILE", global = true, help_heading = COMMON)]
    config: Option<PathBuf>,
    /// The data directory [default: ./seawall-data]
    #[arg(long, value_name = "DIR", global = true, help_heading = COMMON)]
    data: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true, help_heading = COMMON)]
    json: bool,
}

impl Place {
    fn config(&self) -> Result<Config> {
        let flags = Flags {
            config: self.config.clone(),
            data: self.data.clone(),
            listen: Vec::new(),
        };
        moving::apply(Config::load(Sources::of_process(flags)?)?)
    }
}

/// Finds the registry and works on it.
fn on_registry(place: &Place, work: impl AsyncFnOnce(&Session) -> Result<()>) -> Result<()> {
    let config = place.config()?;
    block_on(async {
        let session = Session::open(&config).await?;
        let done = work(&session).await;
        session.close().await;
        done
    })
}

/// Runs a command's work. What goes wrong on the way is told on stderr.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(io::stderr)
        .without_time()
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(work)
}

/// A whole list, page by page; `page` asks for what comes after the last one so far.
async fn all<T: DeserializeOwned>(
    session: &Session,
    page: impl Fn(Option<&T>) -> Request,
) -> Result<Vec<T>> {
    let mut all = Vec::new();
    loop {
        let more: Vec<T> = session.ask(page(all.last())).await?;
        if more.is_empty() {
            return Ok(all);
        }
        all.extend(more);
    }
}

/// The first line of standard input: a password never stands on a command line, where other users and the shell's history
/// would see it.
fn password_from_stdin() -> Result<Password> {
    let mut line = String::new();
    io::stdin()
        .lock()
        .take(4096)
        .read_line(&mut line)
        .context("cannot read standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("there is no password on standard input");
    }
    Ok(Password(password.to_owned()))
}
