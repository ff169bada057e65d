//! The runner: claims what is due, as much as it may run at once, and wakes when something new is due.
//!
//! All it knows is in rows, so a runner may stop at any moment: what it ran is claimed by another when the lease ends, or
//! at once when there was time to give it back.

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use db::jobs::{self, Claimed, Queue};
use futures_util::future::BoxFuture;
use model::{Result, job::Job};
use registry::Registry;
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Context, Outcome, Post, attempt,
    schedule::{Intervals, Schedule},
    slots::Slots,
};

/// How long a runner sleeps at most where it hears of every job; elsewhere `Config::poll` says it.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);

#[derive(Debug, Clone)]
pub struct Config {
    /// Jobs that this node runs at once; which of them, `slots` says.
    pub workers: usize,
    /// How long a job stays claimed without a heartbeat; one comes every third of it.
    pub lease: Duration,
    /// How often another node's jobs are looked for when it is not heard.
    pub poll: Duration,
    /// How often a running job asks whether it should stop.
    pub listen: Duration,
    /// How long cancelled work may take to end by itself; then it is dropped where it stands.
    pub patience: Duration,
    /// How long an attempt may take before it is cancelled and has failed.
    pub timeout: fn(&Job) -> Duration,
    pub intervals: Intervals,
    /// How long rows of the audit stay; for ever without it.
    pub audit_keep: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: 10,
            lease: Duration::from_secs(30),
            poll: Duration::from_secs(10),
            listen: Duration::from_secs(1),
            patience: Duration::from_secs(1),
            timeout: Job::timeout,
            intervals: Intervals::default(),
            audit_keep: None,
        }
    }
}

/// What an attempt does; in tests another than [`crate::run`].
pub(crate) type Work =
    Arc<dyn for<'a> Fn(&'a Context, &'a Job) -> BoxFuture<'a, Result<Outcome>> + Send + Sync>;

/// What the loop and all its attempts share.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) registry: Registry,
    pub(crate) config: Config,
    pub(crate) shutdown: CancellationToken,
    pub(crate) work: Work,
    /// Changes when a running job should ask at once whether to stop.
    pub(crate) poke: watch::Sender<u64>,
    /// While it is true no jobs are claimed.
    pub(crate) drained: watch::Receiver<bool>,
}

impl Node {
    /// Ends a while after the node was told to stop: what has not come to its end by then is left to the lease.
    pub(crate) async fn out_of_patience(&self) {
        self.shutdown.cancelled().await;
        tokio::time::sleep(self.config.patience).await;
    }
}

/// Runs jobs until `shutdown`; the tasks end by themselves and are owned by the tracker.
pub struct Runner;

impl Runner {
    pub fn start(
        registry: &Registry,
        post: Post,
        tracker: &TaskTracker,
        shutdown: CancellationToken,
        drained: watch::Receiver<bool>,
        config: Config,
    ) {
        let registry = registry.in_background();
        let schedule = Schedule::new(registry.clone(), config.intervals.clone(), config.lease);
        tracker.spawn(schedule.run(shutdown.clone()));
        Self::start_with(
            registry,
            tracker,
            shutdown,
            drained,
            config,
            Arc::new(move |cx, job| {
                let post = post.clone();
                Box::pin(async move { crate::run(cx, &post, job).await })
            }),
        );
    }

    pub(crate) fn start_with(
        registry: Registry,
        tracker: &TaskTracker,
        shutdown: CancellationToken,
        drained: watch::Receiver<bool>,
        config: Config,
        work: Work,
    ) {
        let node = Node {
            registry,
            config,
            shutdown,
            work,
            poke: watch::Sender::new(0),
            drained,
        };
        tracker.spawn(hear(node.registry.db().clone(), node.shutdown.clone()));
        tracker.spawn(claim_all(node, tracker.clone()));
    }
}

/// Hears what other nodes enqueue.
async fn hear(db: db::Db, shutdown: CancellationToken) {
    shutdown.run_until_cancelled(db.hear_jobs()).await;
}

async fn claim_all(node: Node, tracker: TaskTracker) {
    let slots = Arc::new(Slots::new(node.config.workers));
    let freed = Arc::new(Notify::new());
    let waiting = node.registry.db().clone();
    let mut drained = node.drained.clone();
    while !node.shutdown.is_cancelled() {
        // Noted before the look, so that what is enqueued after it wakes us.
        let enqueued = waiting.job_waiting().notified();
        let is_drained = *drained.borrow_and_update();
        let filled = if is_drained {
            Ok(LONGEST_SLEEP)
        } else {
            tokio::select! {
                filled = fill(&node, &tracker, &slots, &freed) => filled,
                () = node.out_of_patience() => break,
            }
        };
        let pause = match filled {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, "no jobs can be claimed; trying again");
                node.config.poll
            }
        };
        tokio::select! {
            () = node.shutdown.cancelled() => break,
            () = enqueued => node.poke.send_modify(|count| *count += 1),
            () = freed.notified() => {}
            Ok(()) = drained.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Starts what is due while there is room; answers how long until something else may be.
async fn fill(
    node: &Node,
    tracker: &TaskTracker,
    slots: &Arc<Slots>,
    freed: &Arc<Notify>,
) -> Result<Duration> {
    let longest = if node.registry.db().hears_all_jobs() {
        LONGEST_SLEEP
    } else {
        node.config.poll
    };
    while !node.shutdown.is_cancelled() {
        let wanted = slots.wanted();
        if wanted.is_empty() {
            break;
        }
        // The lease runs from before the claim.
        let asked = tokio::time::Instant::now();
        let Some(claimed) = claim(node, wanted.clone()).await? else {
            return until_next(node, &wanted, longest).await;
        };
        let slot = slots.take(&claimed.job);
        let (node, freed) = (node.clone(), freed.clone());
        tracker.spawn(async move {
            attempt::run(&node, claimed, asked).await;
            drop(slot);
            freed.notify_one();
        });
    }
    Ok(longest)
}

async fn claim(node: &Node, wanted: Vec<Queue>) -> Result<Option<Claimed>> {
    let (name, lease) = (node.registry.db().node().to_owned(), node.config.lease);
    node.registry
        .db()
        .write(move |tx| {
            let (name, wanted) = (name.clone(), wanted.clone());
            Box::pin(async move { jobs::claim(tx, &name, lease, &wanted).await })
        })
        .await
}

async fn until_next(node: &Node, wanted: &[Queue], longest: Duration) -> Result<Duration> {
    let db = node.registry.db();
    let Some(due) = jobs::next_due(&mut *db.reader().await?, wanted).await? else {
        return Ok(longest);
    };
    // A lease is over only after its end, and a moment too early would be a look for nothing.
    Ok(due
        .since(db.now().await?)
        .saturating_add(Duration::from_millis(1))
        .min(longest))
}
