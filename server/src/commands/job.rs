//! `seawall job`: what runs, ran or waits in the background.

use anyhow::Result;
use clap::Subcommand;

use super::{
    Place, on_registry,
    screen::{self, printable, say, table},
};
use crate::control::{
    answer::{Job, JobLog},
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
    /// List jobs, the newest first
    List {
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=500))]
        limit: i64,
    },
    /// Show a job and its log
    Log { id: i64 },
    /// Ask a job to stop
    Stop { id: i64 },
}

pub fn run(args: Args) -> Result<()> {
    let Args { place, command } = args;
    on_registry(&place, async |session| {
        match command {
            Command::List { limit } => {
                let jobs: Vec<Job> = session.ask(Request::JobList { limit }).await?;
                show_list(&jobs, place.json);
            }
            Command::Log { id } => {
                let log: JobLog = session.ask(Request::JobLog { id }).await?;
                show_log(&log, place.json);
            }
            Command::Stop { id } => {
                let job: Job = session.ask(Request::JobStop { id }).await?;
                if place.json {
                    screen::json(&job);
                } else {
                    let how = if job.ended_at.is_some() {
                        "is stopped"
                    } else {
                        "was asked to stop"
                    };
                    say(&format!("job {id} {how}"));
                }
            }
        }
        Ok(())
    })
}

fn show_list(jobs: &[Job], json: bool) {
    if json {
        return screen::json(&jobs);
    }
    let time = |time: &Option<String>| time.as_deref().map(screen::time).unwrap_or_default();
    let rows: Vec<_> = jobs
        .iter()
        .map(|job| {
            [
                job.id.to_string(),
                job.kind.clone(),
                state(job),
                time(&job.started_at),
                time(&job.ended_at),
                job.message.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table(
        ["ID", "KIND", "STATE", "STARTED", "ENDED", "MESSAGE"],
        &rows,
        "there were no jobs yet",
    );
}

fn state(job: &Job) -> String {
    if job.stopping && job.ended_at.is_none() {
        "stopping".to_owned()
    } else {
        job.state.clone()
    }
}

fn show_log(log: &JobLog, json: bool) {
    if json {
        return screen::json(log);
    }
    let job = &log.job;
    let node = job
        .node
        .as_deref()
        .map(|node| format!(" on {node}"))
        .unwrap_or_default();
    say(&format!(
        "job {}, {}, {}, attempt {}{}",
        job.id,
        job.kind,
        state(job),
        job.attempt,
        printable(&node)
    ));
    for line in &log.lines {
        say(&format!("{}  {}", line.at, printable(&line.text)));
    }
    if let Some(message) = &job.message {
        say(&printable(message));
    }
}
