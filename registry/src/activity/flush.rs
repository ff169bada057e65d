//! Telling the database what was counted.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use db::{
    Tx,
    activity::{self, Counts, Place, Pulled},
    audit,
};
use model::{Result, settings::Settings, time::Timestamp};
use tokio_util::sync::CancellationToken;

use super::{Activity, Key, Pulls, summary};
use crate::Registry;

/// How long a pull waits to be told, about.
const EVERY: Duration = Duration::from_secs(5);
/// Keys of one transaction: some milliseconds of SQLite's one writer, and of the rows that nodes share.
const BATCH: usize = 200;

/// What was counted, taken out.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) pulls: Vec<(Key, Pulls)>,
    traffic: Vec<(Box<str>, Counts)>,
}

/// What one transaction tells.
struct Batch {
    summary: summary::Summary,
    counts: BTreeMap<String, Counts>,
    counts_pulls: bool,
}

impl Registry {
    /// Tells the database every few seconds, until `shutdown`. Whoever ends the process calls [`Registry::flush_activity`] last.
    pub async fn tell_activity(self, shutdown: CancellationToken) {
        let mut fails = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
                () = self.activity().filling.notified() => {}
            }
            let told = self.flush(false).await;
            match &told {
                Err(error) if !fails => {
                    tracing::warn!(%error, "pulls and pushes cannot be counted in the database; they wait in memory");
                }
                _ => {}
            }
            fails = told.is_err();
        }
    }

    /// Tells all that was counted until now.
    pub async fn flush_activity(&self) -> Result<()> {
        self.flush(true).await
    }

    async fn flush(&self, all: bool) -> Result<()> {
        let missed = self.activity().missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            tracing::warn!(missed, "more was pulled at once than is counted");
        }
        let mut counted = self.activity().take(all);
        if counted.is_empty() {
            return Ok(());
        }
        while !counted.is_empty() {
            let batch = counted.split();
            if let Err(error) = self.tell(&batch).await {
                self.activity().put_back(batch);
                self.activity().put_back(counted);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn tell(&self, counted: &Counted) -> Result<()> {
        let settings = self.db().settings().await?;
        let batch = Arc::new(Batch::new(counted, &settings));
        let told = self.db().write(move |tx| {
            let batch = batch.clone();
            Box::pin(async move { batch.write(tx).await })
        });
        told.await
    }
}

impl Counted {
    fn is_empty(&self) -> bool {
        self.pulls.is_empty() && self.traffic.is_empty()
    }

    /// What goes into one transaction. It is sorted so that what belongs together comes together.
    fn split(&mut self) -> Self {
        let pulls = self.pulls.len().saturating_sub(BATCH);
        let mut pulls = self.pulls.split_off(pulls);
        // Nobody's pulls of one artifact are parted: a HEAD would count beside its GET.
        if let Some((first, _)) = pulls.first() {
            let artifact = first.artifact;
            while self
                .pulls
                .last()
                .is_some_and(|(key, _)| key.artifact == artifact)
                && pulls.len() < 4 * BATCH
            {
                pulls.extend(self.pulls.pop());
            }
        }
        let traffic = self.traffic.len().saturating_sub(BATCH);
        Self {
            pulls,
            traffic: self.traffic.split_off(traffic),
        }
    }
}

impl Activity {
    /// Takes out what was counted. A HEAD stays for its GET, which may come just now, until the next time or `all` is wanted.
    pub(super) fn take(&self, all: bool) -> Counted {
        let mut counted = Counted::default();
        for part in &self.parts {
            let mut part = part.lock();
            let got: HashSet<_> = part
                .pulls
                .iter()
                .filter(|(_, pulls)| pulls.gets > 0)
                .map(|(key, _)| key.who())
                .collect();
            let pulls = part.pulls.extract_if(|key, pulls| {
                let goes = all || pulls.waited || got.contains(&key.who());
                pulls.waited = true;
                goes
            });
            counted.pulls.extend(pulls);
            counted.traffic.extend(part.traffic.drain());
        }
        counted.pulls.sort_by(|(a, x), (b, y)| {
            (&x.repository, a.artifact).cmp(&(&y.repository, b.artifact))
        });
        counted.traffic.sort_by(|a, b| a.0.cmp(&b.0));
        counted
    }

    /// As if it had not been taken.
    fn put_back(&self, counted: Counted) {
        for (key, pulls) in counted.pulls {
            let mut part = self.part(key.artifact).lock();
            if let Some(known) = part.pulls.get_mut(&key) {
                known.gets += pulls.gets;
                known.bytes += pulls.bytes;
                known.last = known.last.max(pulls.last);
            } else if self.has_room(part.pulls.len()) {
                part.pulls.insert(key, pulls);
            }
        }
        for (repository, counts) in counted.traffic {
            self.add(&repository, counts);
        }
    }
}

impl Batch {
    fn new(counted: &Counted, settings: &Settings) -> Self {
        let summary = summary::of(&counted.pulls, settings);
        let mut counts = BTreeMap::<String, Counts>::new();
        for (repository, traffic) in &counted.traffic {
            counts
                .entry(repository.to_string())
                .or_default()
                .add(*traffic);
        }
        for (repository, pulls) in &summary.pulls {
            counts.entry(repository.clone()).or_default().pulls += pulls;
        }
        for (repository, bytes) in &summary.bytes {
            counts.entry(repository.clone()).or_default().bytes_out += bytes;
        }
        Self {
            summary,
            counts,
            counts_pulls: !settings.pull_count_update_disable(),
        }
    }

    /// Of a repository that went meanwhile only the audit tells.
    async fn write(&self, tx: &mut Tx) -> Result<()> {
        let now = tx.now().await?;
        if !self.summary.told.is_empty() {
            audit::append_all(tx, &self.summary.told).await?;
        }
        let names: Vec<&str> = self.counts.keys().map(String::as_str).collect();
        let places = activity::hold(tx, &names).await?;
        if self.counts_pulls {
            let pulls = places.iter().filter_map(|place| {
                let pulls = *self.summary.pulls.get(&place.name)?;
                (pulls > 0).then_some((place.repository, pulls))
            });
            activity::add_pulls(tx, &pulls.collect::<Vec<_>>()).await?;
        }
        activity::set_pulled(tx, &self.pulled(&places, now)).await?;
        let counts: Vec<_> = places
            .into_iter()
            .map(|place| (self.counts[&place.name], place))
            .filter(|(counts, _)| *counts != Counts::default())
            .map(|(counts, place)| (place, counts))
            .collect();
        activity::add(tx, &counts, now).await
    }

    /// No later than the database believes it to be.
    fn pulled(&self, places: &[Place], now: Timestamp) -> Vec<Pulled> {
        let repositories: BTreeMap<_, _> = places
            .iter()
            .map(|place| (&*place.name, place.repository))
            .collect();
        let times = self.summary.times.iter();
        let pulled = times.filter_map(|((repository, artifact, tag), at)| {
            Some(Pulled {
                repository: *repositories.get(repository.as_str())?,
                artifact: *artifact,
                tag: tag.clone(),
                at: now.min(*at),
            })
        });
        pulled.collect()
    }
}
