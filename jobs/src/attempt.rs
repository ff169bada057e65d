//! One attempt of one job: the work, and beside it a watch that renews the lease, shows progress, and hears whether to
//! stop. Whatever ends the attempt, its row says so afterwards; unless the row belongs to another attempt by now.

#[cfg(test)]
mod tests;

use std::{panic::AssertUnwindSafe, time::Duration};

use db::jobs::{self, Claimed, End, Heartbeat};
use futures_util::FutureExt;
use model::{Error, Result};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{Context, Outcome, runner::Node};

/// Why an attempt ended before its work did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Somebody asked for it.
    Stop,
    /// This node stops.
    Shutdown,
    /// It takes longer than its kind may.
    Overdue,
    /// Another attempt has the job, or the lease cannot be renewed in time.
    Lost,
}

/// How an attempt ended, as its row should say.
#[derive(Clone)]
enum Ending {
    Done(String),
    Split(String),
    Failed(String),
    Retry(String),
    Stopped,
    GivenBack,
    /// Not ours to say.
    Nothing,
}

pub(crate) async fn run(node: &Node, claimed: Claimed, asked: Instant) {
    let (kind, start) = (claimed.job.kind().as_str(), Instant::now());
    let cancel = CancellationToken::new();
    let lines = count_lines(node, &claimed).await;
    let mut cx = Context::new(
        node.registry.clone(),
        cancel,
        claimed.id,
        claimed.attempt,
        lines,
    );
    cx.audit_keep = node.config.audit_keep;
    cx.lease = node.config.lease;
    tracing::debug!(
        job.id = claimed.id.0,
        job.kind = kind,
        job.attempt = claimed.attempt,
        "a job begins"
    );
    let ending = if claimed.failures >= claimed.job.max_attempts() {
        // Its node went away each time, which the job itself may have caused.
        Ending::Failed(format!(
            "{} attempts ended without a word",
            claimed.failures
        ))
    } else {
        work(node, &cx, &claimed, asked).await
    };
    tell(&claimed, &ending, start.elapsed());
    let written = tokio::select! {
        written = write(&cx, &claimed, ending) => written,
        () = node.out_of_patience() => Err(Error::Unavailable(anyhow::anyhow!(
            "the database does not answer"
        ))),
    };
    if let Err(error) = written {
        // The lease ends by itself, and then the job is run again.
        tracing::warn!(job.id = claimed.id.0, job.kind = kind, %error, "a job's end was not written");
    }
}

/// Counts the attempt, and says aloud when it failed.
fn tell(claimed: &Claimed, ending: &Ending, took: Duration) {
    let (id, attempt) = (claimed.id.0, claimed.attempt);
    let kind = claimed.job.kind().as_str();
    let (outcome, why) = match ending {
        Ending::Done(_) => ("done", None),
        Ending::Split(_) => ("split", None),
        Ending::Failed(why) => ("failed", Some(why)),
        Ending::Retry(why) => ("retried", Some(why)),
        Ending::Stopped => ("stopped", None),
        Ending::GivenBack => ("given-back", None),
        Ending::Nothing => ("lost", None),
    };
    metrics::counter!("seawall_jobs_total", "kind" => kind, "outcome" => outcome).increment(1);
    metrics::histogram!("seawall_job_duration_seconds", "kind" => kind).record(took.as_secs_f64());
    let duration_ms = took.as_millis() as u64;
    if let Some(why) = why {
        tracing::warn!(
            job.id = id,
            job.kind = kind,
            job.attempt = attempt,
            outcome,
            duration_ms,
            why,
            "a job failed"
        );
    } else {
        tracing::debug!(
            job.id = id,
            job.kind = kind,
            job.attempt = attempt,
            outcome,
            duration_ms,
            "a job ended"
        );
    }
}

async fn count_lines(node: &Node, claimed: &Claimed) -> i64 {
    if claimed.attempt == 1 {
        return 0;
    }
    match node.registry.db().reader().await {
        Ok(mut reader) => jobs::count_logs(&mut reader, claimed.id).await.unwrap_or(0),
        Err(_) => 0,
    }
}

async fn work(node: &Node, cx: &Context, claimed: &Claimed, asked: Instant) -> Ending {
    let work = AssertUnwindSafe((node.work)(cx, &claimed.job)).catch_unwind();
    tokio::pin!(work);
    let longest = (node.config.timeout)(&claimed.job);
    let cut = tokio::select! {
        biased;
        outcome = &mut work => return finished(claimed, outcome),
        cut = watch(node, cx, asked) => cut,
        () = sleep(longest) => Cut::Overdue,
    };
    cx.cancel.cancel();
    let last = timeout(node.config.patience, &mut work).await;
    match (cut, last) {
        (Cut::Lost, _) => Ending::Nothing,
        // It came to its end all the same.
        (Cut::Stop | Cut::Shutdown | Cut::Overdue, Ok(Ok(Ok(Outcome::Done(text))))) => {
            Ending::Done(text)
        }
        (Cut::Shutdown | Cut::Overdue, Ok(Ok(Ok(Outcome::Split(text))))) => Ending::Split(text),
        (Cut::Overdue, _) => failed(claimed, format!("it was not done after {longest:?}")),
        (Cut::Stop, _) => Ending::Stopped,
        (Cut::Shutdown, _) => Ending::GivenBack,
    }
}

fn finished(claimed: &Claimed, outcome: std::thread::Result<Result<Outcome>>) -> Ending {
    match outcome {
        Ok(Ok(Outcome::Done(text))) => Ending::Done(text),
        Ok(Ok(Outcome::Split(text))) => Ending::Split(text),
        Ok(Ok(Outcome::GiveUp(why))) => Ending::Failed(why),
        // Given back at once it might do the same again and again.
        Ok(Ok(Outcome::Interrupted)) => failed(
            claimed,
            "it ended early, and nobody had asked it to".to_owned(),
        ),
        Ok(Err(error)) => failed(claimed, error.to_string()),
        Err(_) => failed(
            claimed,
            "it panicked; the log of this node says where".to_owned(),
        ),
    }
}

/// Tried again, unless it has been often enough.
fn failed(claimed: &Claimed, why: String) -> Ending {
    if claimed.failures + 1 < claimed.job.max_attempts() {
        Ending::Retry(why)
    } else {
        Ending::Failed(why)
    }
}

/// Ends when the work must.
async fn watch(node: &Node, cx: &Context, asked: Instant) -> Cut {
    let lease = node.config.lease;
    let every = |period: Duration| {
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let (mut beats, mut listens, mut poked) = (
        every(lease / 3),
        every(node.config.listen),
        node.poke.subscribe(),
    );
    let mut held_until = asked + lease;
    loop {
        let renews = tokio::select! {
            () = node.shutdown.cancelled() => return Cut::Shutdown,
            _ = beats.tick() => true,
            _ = listens.tick() => false,
            Ok(()) = poked.changed() => false,
        };
        let asked = Instant::now();
        let ask = async {
            if renews {
                heartbeat(cx, lease).await
            } else {
                listen(cx).await
            }
        };
        // A database that hangs must not keep the node from stopping.
        let heard = tokio::select! {
            () = node.shutdown.cancelled() => return Cut::Shutdown,
            heard = timeout(lease / 3, ask) => heard,
        };
        if renews && matches!(heard, Ok(Ok(Heartbeat::GoOn))) {
            held_until = asked + lease;
        }
        match heard {
            Ok(Ok(Heartbeat::GoOn)) => {}
            Ok(Ok(Heartbeat::Stop)) => return Cut::Stop,
            Ok(Ok(Heartbeat::Lost)) => return Cut::Lost,
            Ok(Err(error)) => {
                tracing::warn!(job.id = cx.id.0, %error, "a job's lease could not be asked about");
            }
            Err(_) => tracing::warn!(
                job.id = cx.id.0,
                "the database does not answer a job's heartbeat"
            ),
        }
        // In time for the work to end before anybody else may claim it.
        if Instant::now() + lease / 3 >= held_until {
            return Cut::Lost;
        }
    }
}

async fn heartbeat(cx: &Context, lease: Duration) -> Result<Heartbeat> {
    let (id, attempt, progress) = (cx.id, cx.attempt, cx.progress());
    cx.db()
        .write(move |tx| {
            let progress = progress.clone();
            Box::pin(
                async move { jobs::heartbeat(tx, id, attempt, lease, progress.as_deref()).await },
            )
        })
        .await
}

async fn listen(cx: &Context) -> Result<Heartbeat> {
    jobs::listen(&mut *cx.db().reader().await?, cx.id, cx.attempt).await
}

async fn write(cx: &Context, claimed: &Claimed, ending: Ending) -> Result<()> {
    let (id, attempt, progress) = (cx.id, cx.attempt, cx.progress());
    let backoff = claimed.job.backoff(claimed.failures);
    cx.db()
        .write(move |tx| {
            let (ending, progress) = (ending.clone(), progress.clone());
            Box::pin(async move {
                let progress = progress.as_deref();
                match ending {
                    Ending::Nothing => Ok(false),
                    Ending::Done(text) => {
                        let message = Some(text.as_str()).filter(|text| !text.is_empty());
                        jobs::end(tx, id, attempt, End::Done, progress, message).await
                    }
                    Ending::Failed(why) => {
                        jobs::end(tx, id, attempt, End::Failed, progress, Some(&why)).await
                    }
                    Ending::Stopped => {
                        jobs::end(tx, id, attempt, End::Stopped, progress, None).await
                    }
                    Ending::Split(text) => {
                        jobs::split(tx, id, attempt, progress, Some(&text)).await
                    }
                    Ending::Retry(why) => jobs::retry(tx, id, attempt, backoff, &why).await,
                    Ending::GivenBack => jobs::give_back(tx, id, attempt).await,
                }
            })
        })
        .await
        .map(|_| ())
}
