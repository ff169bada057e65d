//! What happens every so often. One node at a time, the holder of the lease `scheduler`, puts what is due into the queue;
//! when each was due last is a row too, so that what was missed while nobody ran is done once, and a new leader knows.

#[cfg(test)]
mod tests;

use std::time::Duration;

use db::{described, jobs, leases};
use model::{Result, id::ArtifactId, job::Job};
use registry::Registry;
use tokio_util::sync::CancellationToken;

/// The lease of whoever looks at the schedule.
const LEASE: &str = "scheduler";
/// How often it is looked at.
const TICK: Duration = Duration::from_secs(10);

/// How often the scrub of what is due then goes on.
pub const SCRUB: Duration = Duration::from_hours(1);

/// How often each periodic job is due.
#[derive(Debug, Clone)]
pub struct Intervals {
    pub collect: Duration,
    /// None: only when somebody asks for it.
    pub scrub: Option<Duration>,
    pub expire_uploads: Duration,
    pub trim_history: Duration,
    /// When there is something to describe.
    pub describe: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            collect: Duration::from_mins(1),
            scrub: Some(SCRUB),
            expire_uploads: Duration::from_mins(10),
            trim_history: Duration::from_hours(24),
            describe: Duration::from_mins(1),
        }
    }
}

impl Intervals {
    fn of(&self, job: &Job) -> Option<Duration> {
        match job {
            Job::Collect { .. } => Some(self.collect),
            Job::Scrub { .. } => self.scrub,
            Job::ExpireUploads {} => Some(self.expire_uploads),
            Job::TrimHistory {} => Some(self.trim_history),
            Job::Describe {} => Some(self.describe),
            Job::Mail { .. } | Job::ForgetUser { .. } | Job::Recount {} => None,
        }
    }
}

pub struct Schedule {
    registry: Registry,
    intervals: Intervals,
    lease: Duration,
}

impl Schedule {
    pub fn new(registry: Registry, intervals: Intervals, lease: Duration) -> Self {
        Self {
            registry,
            intervals,
            lease,
        }
    }

    /// Looks every few seconds until `shutdown`, then lets another node do so at once.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "the schedule cannot be looked at; trying again");
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(TICK.min(self.lease / 3)) => {}
            }
        }
        if !self.registry.db().is_exclusive() {
            let node = self.registry.db().node().to_owned();
            let released = self.registry.db().write(move |tx| {
                let node = node.clone();
                Box::pin(async move { leases::release(tx, LEASE, &node).await })
            });
            if let Err(error) = released.await {
                tracing::debug!(%error, "the schedule's lease was not given back; it ends by itself");
            }
        }
    }

    /// Puts what is due into the queue, when this node leads; answers the kinds.
    pub async fn look(&self) -> Result<Vec<&'static str>> {
        if !self.leads().await? {
            return Ok(Vec::new());
        }
        let mut enqueued = Vec::new();
        for job in Job::PERIODIC {
            let Some(every) = self.intervals.of(&job) else {
                continue;
            };
            // Most minutes there is nothing to do: that should not cost a write.
            let is_needed = match job {
                Job::Collect { .. } => self.registry.has_garbage().await?,
                Job::Describe {} => self.has_undescribed().await?,
                _ => true,
            };
            if !is_needed {
                continue;
            }
            let kind = job.kind();
            if self.enqueue_if_due(job, every).await? {
                enqueued.push(kind);
            }
        }
        Ok(enqueued)
    }

    async fn has_undescribed(&self) -> Result<bool> {
        let mut reader = self.registry.db().reader().await?;
        let first = described::list_undescribed(&mut reader, ArtifactId(0), 1);
        Ok(!first.await?.is_empty())
    }

    /// Where no other process writes the database there is nobody to agree with.
    async fn leads(&self) -> Result<bool> {
        if self.registry.db().is_exclusive() {
            return Ok(true);
        }
        let (node, lease) = (self.registry.db().node().to_owned(), self.lease);
        self.registry
            .db()
            .write(move |tx| {
                let node = node.clone();
                Box::pin(async move { leases::hold(tx, LEASE, &node, lease).await })
            })
            .await
    }

    /// In one transaction, so that neither happens without the other.
    async fn enqueue_if_due(&self, job: Job, every: Duration) -> Result<bool> {
        let name = format!("every:{}", job.kind());
        self.registry
            .db()
            .write(move |tx| {
                let (job, name) = (job.clone(), name.clone());
                Box::pin(async move {
                    if !leases::is_due(tx, &name, every).await? {
                        return Ok(false);
                    }
                    let now = tx.now().await?;
                    jobs::enqueue(tx, &job, now, now).await?;
                    Ok(true)
                })
            })
            .await
    }
}
