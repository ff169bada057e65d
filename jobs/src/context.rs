//! What a running job is given: the registry, its token, and a way to say how it goes.

use std::{sync::Arc, time::Duration};

use db::{
    Db,
    jobs::{self, Attempt},
};
use model::id::JobId;
use parking_lot::Mutex;
use registry::Registry;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// One attempt of one job. A clone is another handle on the same attempt.
#[derive(Clone)]
pub struct Context {
    pub registry: Registry,
    pub cancel: CancellationToken,
    /// How long rows of the audit stay; for ever without it.
    pub(crate) audit_keep: Option<Duration>,
    /// How long the job stays claimed without a heartbeat.
    pub(crate) lease: Duration,
    pub(crate) id: JobId,
    pub(crate) attempt: i64,
    state: Arc<Mutex<State>>,
}

struct State {
    /// What the next heartbeat shows, as JSON.
    progress: Option<String>,
    /// How many lines the log may still take.
    lines_left: i64,
}

impl Context {
    pub(crate) fn new(
        registry: Registry,
        cancel: CancellationToken,
        id: JobId,
        attempt: i64,
        lines: i64,
    ) -> Self {
        let state = State {
            progress: None,
            lines_left: jobs::MAX_LOG_LINES - lines,
        };
        Self {
            registry,
            cancel,
            audit_keep: None,
            lease: Duration::from_secs(30),
            id,
            attempt,
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub fn db(&self) -> &Db {
        self.registry.db()
    }

    /// For what is written that is not the job's own, and that another attempt must not do as well.
    pub(crate) fn attempt(&self) -> Attempt {
        Attempt {
            job: self.id,
            number: self.attempt,
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Shows how far the job has come, with its next heartbeat.
    pub fn show(&self, progress: &impl Serialize) {
        if let Ok(json) = serde_json::to_string(progress) {
            self.state.lock().progress = Some(json);
        }
    }

    pub(crate) fn progress(&self) -> Option<String> {
        self.state.lock().progress.clone()
    }

    /// Writes a line into the job's log, which any node can read. A line that cannot be written does not fail the job.
    pub async fn log(&self, line: impl Into<String> + Send) {
        self.log_all(vec![line.into()]).await;
    }

    /// The same for very many: as many in a row of the log as fit.
    pub(crate) async fn log_lines(&self, lines: Vec<String>) {
        let mut rows: Vec<String> = Vec::new();
        for line in lines {
            match rows.last_mut() {
                Some(row) if row.len() + line.len() < jobs::MAX_LOG_LINE => {
                    row.push('\n');
                    row.push_str(&line);
                }
                _ => rows.push(line),
            }
        }
        self.log_all(rows).await;
    }

    /// The same for many, in one transaction. A job that was told to end writes no more: it has seconds.
    pub async fn log_all(&self, mut lines: Vec<String>) {
        {
            let mut state = self.state.lock();
            lines.truncate(usize::try_from(state.lines_left).unwrap_or(0));
            state.lines_left -= lines.len() as i64;
        }
        if lines.is_empty() || self.is_cancelled() {
            return;
        }
        let (id, attempt) = (self.id, self.attempt);
        let written = self
            .db()
            .write(move |tx| {
                let lines = lines.clone();
                Box::pin(async move { jobs::log(tx, id, attempt, &lines).await })
            })
            .await;
        if let Err(error) = written {
            tracing::warn!(job.id = id.0, %error, "lines of a job's log were not written");
        }
    }
}
