//! What happens every so often, and at times that people choose. One node at a time, the holder of the lease `scheduler`, puts what is
//! due into the queue; when each is due is a row too, so that what was missed while nobody ran is done once, and a new leader knows.

#[cfg(test)]
mod tests;

use std::time::Duration;

use db::{
    described,
    jobs::{self, executions, queues},
    leases,
    schedules::{self, Schedule as Row},
};
use model::{
    Result,
    cron::Cron,
    id::ArtifactId,
    job::{Job, Trigger},
    time::Timestamp,
};
use registry::Registry;
use tokio_util::sync::CancellationToken;

/// The lease of whoever looks at the schedule.
const LEASE: &str = "scheduler";
/// How often it is looked at.
const TICK: Duration = Duration::from_secs(10);
/// Schedules of people read at a time.
const MOST: i64 = 100;
/// What a schedule waits whose expression does not come any more, or whose job this version does not know.
const MUCH_LATER: Duration = Duration::from_hours(24);

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
    pub fold_activity: Duration,
    pub recount: Duration,
    pub fsck: Duration,
    pub measure_space: Duration,
    /// When there is something whose time is over.
    pub empty_trash: Duration,
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
            fold_activity: Duration::from_hours(24),
            recount: Duration::from_hours(7 * 24),
            fsck: Duration::from_hours(7 * 24),
            measure_space: Duration::from_hours(24),
            empty_trash: Duration::from_mins(1),
            describe: Duration::from_mins(1),
        }
    }
}

impl Intervals {
    fn of(&self, job: &Job) -> Option<Duration> {
        match job {
            Job::Collect {} => Some(self.collect),
            Job::Scrub { .. } => self.scrub,
            Job::ExpireUploads {} => Some(self.expire_uploads),
            Job::TrimHistory {} => Some(self.trim_history),
            Job::FoldActivity {} => Some(self.fold_activity),
            Job::Recount {} => Some(self.recount),
            Job::Fsck {} => Some(self.fsck),
            Job::MeasureSpace { .. } => Some(self.measure_space),
            Job::EmptyTrash {} => Some(self.empty_trash),
            Job::Describe {} => Some(self.describe),
            Job::Gc(_)
            | Job::PurgeAudit(_)
            | Job::Retention { .. }
            | Job::Retain { .. }
            | Job::Mail { .. }
            | Job::ForgetUser { .. } => None,
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
            let pause = self.until_next().await.unwrap_or(TICK);
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(pause.min(self.lease / 3)) => {}
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
        // First, so that nothing that goes wrong elsewhere keeps people waiting.
        let mut enqueued = self.enqueue_scheduled().await?;
        for job in Job::PERIODIC {
            let Some(every) = self.intervals.of(&job) else {
                continue;
            };
            // Most minutes there is nothing to do: that should not cost a write.
            let is_needed = match job {
                Job::Collect {} => self.registry.has_garbage().await?,
                Job::EmptyTrash {} => self.registry.has_expired_trash().await?,
                Job::Describe {} => self.has_undescribed().await?,
                _ => true,
            };
            if !is_needed {
                continue;
            }
            let kind = job.kind().as_str();
            if self.enqueue_if_due(job, every).await? {
                enqueued.push(kind);
            }
        }
        Ok(enqueued)
    }

    /// How long until the next look: no longer than until something that people chose is due.
    async fn until_next(&self) -> Result<Duration> {
        let db = self.registry.db();
        let next = schedules::next_due(&mut *db.reader().await?).await?;
        let now = db.now().await?;
        let until = next.filter(|next| *next > now).map(|next| next.since(now));
        Ok(until.map_or(TICK, |until| until.min(TICK)))
    }

    /// Puts into the queue what people's schedules say, unless all of them are paused. What was missed is done once.
    async fn enqueue_scheduled(&self) -> Result<Vec<&'static str>> {
        let db = self.registry.db();
        let mut enqueued = Vec::new();
        loop {
            let due = {
                let mut reader = db.reader().await?;
                if queues::is_paused(&mut reader, queues::SCHEDULER).await? {
                    return Ok(enqueued);
                }
                let now = reader.now(db.clock()).await?;
                schedules::due(&mut reader, now, MOST).await?
            };
            let is_last = (due.len() as i64) < MOST;
            for schedule in due {
                let kind = db.write(move |tx| {
                    let schedule = schedule.clone();
                    Box::pin(async move { begin(tx, &schedule).await })
                });
                enqueued.extend(kind.await?);
            }
            if is_last {
                return Ok(enqueued);
            }
        }
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

/// Enqueues what a schedule says and notes when it is due again, in one transaction. Nothing when somebody else has done so, or when
/// what it began the last time still goes on.
async fn begin(tx: &mut db::Tx, schedule: &Row) -> Result<Option<&'static str>> {
    let now = tx.now().await?;
    let job = serde_json::from_str::<Job>(&schedule.job).ok();
    let (Some(next), Some(job)) = (next(schedule, now), job) else {
        schedules::advance(tx, schedule, now.plus(MUCH_LATER)).await?;
        return Ok(None);
    };
    if !schedules::advance(tx, schedule, next).await? {
        return Ok(None);
    }
    if executions::find_under_way(tx, &job).await?.is_some() {
        tracing::info!(
            job.kind = job.kind().as_str(),
            subject = schedule.subject,
            "a schedule is passed over: what it began before still goes on"
        );
        return Ok(None);
    }
    let new = jobs::New::begun_by(Trigger::Schedule, &job, now);
    jobs::enqueue_new(tx, &new, now).await?;
    Ok(Some(job.kind().as_str()))
}

fn next(schedule: &Row, now: Timestamp) -> Option<Timestamp> {
    Cron::parse(&schedule.cron).ok()?.next_after(now)
}
