//! `seawall job`: what runs, ran or waits in the background.

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;

use super::{
    Place, on_registry,
    screen::{self, printable, say, table},
};
use crate::control::{
    Session,
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
    #[command(visible_alias = "ls")]
    List {
        /// How many are shown
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=500))]
        limit: i64,
    },
    /// Show a job and its log
    Log {
        /// The number that `job list` shows
        id: i64,
        /// Go on until it ends
        #[arg(long, short)]
        follow: bool,
    },
    /// Ask a job to stop
    Stop {
        /// The number that `job list` shows
        id: i64,
    },
}

pub fn run(args: Args) -> Result<()> {
    let Args { place, command } = args;
    on_registry(&place, async |session| {
        match command {
            Command::List { limit } => {
                let jobs: Vec<Job> = session.ask(Request::JobList { limit }).await?;
                show_list(&jobs, place.json);
            }
            Command::Log { id, follow } => {
                let log: JobLog = session.ask(Request::JobLog { id, after: 0 }).await?;
                if follow && !place.json {
                    follow_log(session, log).await?;
                } else {
                    show_log(&log, place.json);
                }
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

/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_millis(300);

async fn follow_log(session: &Session, mut log: JobLog) -> Result<()> {
    let (id, mut after) = (log.job.id, 0);
    show_head(&log);
    loop {
        show_lines(&log);
        after = log.lines.last().map_or(after, |line| line.id);
        if log.job.ended_at.is_some() {
            show_end(&log);
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
        log = session.ask(Request::JobLog { id, after }).await?;
    }
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
                shown(job),
            ]
        })
        .collect();
    table(
        ["ID", "KIND", "STATE", "STARTED", "ENDED", "MESSAGE"],
        &rows,
        "there were no jobs yet",
    );
}

/// How far it has come while it runs, and what came of it.
fn shown(job: &Job) -> String {
    let counted = job.progress.as_ref().filter(|_| job.ended_at.is_none());
    let counted = counted.and_then(|counted| counted.as_object()).map(|all| {
        let numbers = all.iter().filter(|(_, value)| value.is_number());
        let told = numbers.map(|(name, value)| format!("{name} {value}"));
        told.collect::<Vec<_>>().join(", ")
    });
    counted.or(job.message.clone()).unwrap_or_default()
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
    show_head(log);
    show_lines(log);
    show_end(log);
}

fn show_head(log: &JobLog) {
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
}

fn show_lines(log: &JobLog) {
    for line in &log.lines {
        say(&format!("{}  {}", line.at, printable(&line.text)));
    }
}

fn show_end(log: &JobLog) {
    if let Some(message) = &log.job.message {
        say(&printable(message));
    }
}
