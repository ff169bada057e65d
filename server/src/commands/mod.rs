//! The command line.

mod health;
mod migrate;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A container registry: Harbor's API and docker's protocol in one process.
#[derive(Parser)]
#[command(name = "seawall", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Args),
    /// Ask a server how it is: exit code 0 ready, 1 not ready, 2 no answer
    Health(health::Args),
    /// Bring the database's schema up to date, or see what that would do
    Migrate(migrate::Args),
    /// Show the version
    Version,
}

/// Runs what the command line says.
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Health(args) => return health::run(&args),
        Command::Migrate(args) => migrate::run(args),
        Command::Version => {
            say(&format!("seawall {}", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// For the person at the terminal.
#[expect(clippy::print_stdout, reason = "a command's answer")]
fn say(text: &str) {
    println!("{text}");
}

/// The error and its causes on one line.
#[expect(clippy::print_stderr, reason = "a command's complaint")]
fn complain(error: &anyhow::Error) {
    eprintln!("seawall: {error:#}");
}
