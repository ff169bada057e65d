//! This node among the others: its name is its own, and it tells of itself every few seconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use api::health::Health;
use auth::{Auth, Followed};
use db::{
    Db, Tx, facts, moving,
    nodes::{self, Node, SILENT, Sign},
};
use model::{id::new_uid, time::Timestamp};
use registry::Registry;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::timeline::Timeline;

/// Between two signs of life, and between two looks at whether this node is drained.
const BEAT: Duration = Duration::from_secs(2);
/// What a look at the key file and its fact may take, so that signs of life go on.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is told where nobody else asks.
const SELDOM: Duration = Duration::from_hours(1);
/// Between two looks at who goes by this node's name.
const LOOK: Duration = Duration::from_millis(500);
/// How long a run must say nothing under our eyes before its name is ours: while the database was away, everybody was silent.
const WATCHED: Duration = Duration::from_secs(6);
/// Beats between two comparisons with the other nodes.
const COMPARE: u64 = 15;
/// Holds the runs that this data directory had last, a line each.
const RUN: &str = "seawall.run";

/// What a node says of itself that stays as it is.
pub struct Own {
    pub addresses: Vec<String>,
    pub workers: usize,
    pub settings: BTreeMap<String, String>,
}

pub struct Presence {
    db: Db,
    node: Node,
    timeline: Timeline,
    /// What was told last, and when.
    told: (&'static str, String, Timestamp),
}

/// Whom the node's signs of life are for.
pub struct Told {
    pub auth: Auth,
    pub registry: Registry,
    pub health: Arc<Health>,
    /// Whether the node is drained.
    pub drained: watch::Sender<bool>,
    pub verdict: Verdict,
}

/// Whether this process must end at once, and why: another one has its name, and with it what this one was in the middle of; or the
/// key file is not the database's any more.
#[derive(Clone, Default)]
pub struct Verdict(Arc<(CancellationToken, OnceLock<String>)>);

impl Verdict {
    fn end(&self, why: String) {
        let _ = self.0.1.set(why);
        self.0.0.cancel();
    }

    pub async fn passed(&self) {
        self.0.0.cancelled().await;
    }

    pub fn why(&self) -> Option<&str> {
        self.0.1.get().map(String::as_str)
    }
}

/// The purpose of the keys that sign the ids of uploads.
pub const UPLOADS: &str = "upload ids";

impl Presence {
    /// Takes the node's name. Refused while another process goes by it; one that says nothing any more is waited for no longer than
    /// [`SILENT`].
    pub async fn enter(registry: &Registry, data: &Path, own: Own) -> Result<Self> {
        let db = registry.db();
        let file = data.join(RUN);
        let last = tokio::fs::read_to_string(&file).await.unwrap_or_default();
        let started_at = db.now().await?;
        let node = Node {
            name: db.node().to_owned(),
            run: new_uid(),
            host: host(),
            pid: i64::from(std::process::id()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            addresses: own.addresses,
            workers: own.workers as i64,
            started_at,
            seen_at: started_at,
            clock_offset: clock_offset(db).await?,
            settings: own.settings,
            state: "starting".to_owned(),
            drained_at: None,
            next_key: String::new(),
        };
        // Both, until the name is taken: a process that is killed here must find its own.
        note(&file, &format!("{last}\n{}", node.run)).await?;
        let mut watched = None;
        loop {
            match take(registry, &node, &last, &mut watched).await? {
                Entered::Yes => break,
                Entered::No => sleep(LOOK).await,
                Entered::Refused(why) => bail!("{why}"),
            }
        }
        note(&file, &node.run).await?;
        Ok(Self {
            db: db.clone(),
            timeline: Timeline::default(),
            told: ("starting", String::new(), node.seen_at),
            node,
        })
    }

    /// Until `end`: then others may have the name.
    pub async fn keep(mut self, told: Told, end: CancellationToken) {
        let mut differing = BTreeSet::new();
        for beat in 0_u64.. {
            if let Err(error) = told.auth.refresh_keys().await {
                tracing::debug!(%error, "the keys of tokens could not be read again");
            }
            match timeout(PATIENCE, follow_key(&told)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the key file could not be compared with the database");
                }
                Err(_) => tracing::debug!("the key file could not be compared in time"),
            }
            match timeout(SILENT, self.beat(&told)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, "this node could not tell that it is there");
                }
                Err(_) => tracing::debug!("this node could not tell in time that it is there"),
            }
            if let Err(error) = self.timeline.follow(&self.db, &told.auth).await {
                tracing::debug!(%error, "the timeline of the database could not be read");
            }
            if beat % COMPARE == 1 {
                differing = self.compare(&differing).await;
            }
            tokio::select! {
                () = end.cancelled() => break,
                () = sleep(BEAT) => {}
            }
        }
        let (name, run) = (self.node.name, self.node.run);
        let left = self.db.write(move |tx| {
            let (name, run) = (name.clone(), run.clone());
            Box::pin(async move { nodes::leave(tx, &name, &run).await })
        });
        if let Err(error) = left.await {
            tracing::debug!(%error, "this node is shown for a while although it has stopped");
        }
    }

    async fn beat(&mut self, told: &Told) -> Result<()> {
        let Some(is_drained) = self.sign(told).await? else {
            return self.settle(told).await;
        };
        told.health.set_drained(is_drained);
        let is_changed = told
            .drained
            .send_if_modified(|before| std::mem::replace(before, is_drained) != is_drained);
        if is_changed && is_drained {
            tracing::info!("drained: no new work until `seawall node resume`");
        } else if is_changed {
            tracing::info!("resumed");
        }
        metrics::gauge!("seawall_node_drained").set(if is_drained { 1.0 } else { 0.0 });
        Ok(())
    }

    /// The row is gone, or another's.
    async fn settle(&self, told: &Told) -> Result<()> {
        match self.found().await? {
            // One that was silent for a day is forgotten, and a database that lost its last commits has forgotten too.
            None => self.enter_again(None, told).await,
            Some(other) if self.is_silent(&other).await? => {
                self.enter_again(Some(other), told).await
            }
            Some(other) => {
                told.verdict.end(format!(
                    "another process (host `{}`, {}) goes by the name `{}`: give each node a name of its own (server.node)",
                    other.host, other.pid, other.name
                ));
                Ok(())
            }
        }
    }

    /// Whether this node is drained; none when its row is not its own any more. Where nobody else writes the database, what has not
    /// changed is told seldom.
    async fn sign(&mut self, told: &Told) -> Result<Option<bool>> {
        let state = told.health.status();
        let next_key = told.auth.next_secret_key().unwrap_or_default();
        let now = self.db.clock().now();
        let is_told = self.told.0 == state && self.told.1 == next_key;
        if self.db.is_exclusive() && is_told && now.since(self.told.2) < SELDOM {
            let found = self.found().await?;
            let own = found.filter(|node| node.run == self.node.run);
            return Ok(own.map(|node| node.drained_at.is_some()));
        }
        let clock_offset = clock_offset(&self.db).await?;
        metrics::gauge!("seawall_node_clock_offset_seconds").set(clock_offset as f64 / 1e6);
        let (name, run) = (self.node.name.clone(), self.node.run.clone());
        let (key, registry) = (next_key.clone(), told.registry.clone());
        let told_of = self.db.write(move |tx| {
            let (name, run, next_key) = (name.clone(), run.clone(), key.clone());
            let registry = registry.clone();
            Box::pin(async move {
                let now = tx.now().await?;
                let sign = Sign {
                    name: &name,
                    run: &run,
                    state,
                    clock_offset,
                    next_key: &next_key,
                };
                let is_drained = nodes::see(tx, &sign, now).await?;
                Ok((is_drained, why_not(tx, &registry).await?))
            })
        });
        let (is_drained, why_not) = told_of.await?;
        if let Some(why) = why_not {
            told.verdict.end(why);
        }
        self.told = (state, next_key, now);
        Ok(is_drained)
    }

    async fn found(&self) -> Result<Option<Node>> {
        Ok(nodes::find(&mut *self.db.reader().await?, &self.node.name).await?)
    }

    async fn is_silent(&self, other: &Node) -> Result<bool> {
        Ok(self.db.now().await?.since(other.seen_at) > SILENT)
    }

    async fn enter_again(&self, seen: Option<Node>, told: &Told) -> Result<()> {
        if let Entered::Refused(why) = enter(&told.registry, &self.node, seen, false).await? {
            told.verdict.end(why);
        }
        Ok(())
    }

    /// Tells of each node that is configured otherwise, although it should not be, unless it was so when they were compared last.
    async fn compare(&self, before: &BTreeSet<(String, String)>) -> BTreeSet<(String, String)> {
        let Ok(all) = nodes::alive(&self.db).await else {
            return before.clone();
        };
        metrics::gauge!("seawall_nodes").set(all.len() as f64);
        let others = all.iter().filter(|other| other.name != self.node.name);
        let differing = others.filter_map(|other| {
            let keys = self.node.differs(other);
            (!keys.is_empty()).then(|| (other.name.clone(), keys.join(", ")))
        });
        let differing: BTreeSet<_> = differing.collect();
        for (node, keys) in differing.difference(before) {
            tracing::warn!(
                node,
                keys,
                "another node has other values of what all should have alike"
            );
        }
        differing
    }
}

/// Before it is told that this node has the key that is to come, what that key signed must be valid here.
async fn follow_key(told: &Told) -> Result<()> {
    let followed = told.auth.follow_secret_key().await;
    // Also when the key file's system did not answer: the key may count all the same.
    let keys = told.auth.derived_keys(UPLOADS);
    told.registry.sign_uploads_with(&keys);
    if followed? == Followed::Lost {
        told.verdict.end(
            "the database was encrypted with another key file, which this node does not have: copy it here from a node that has it (server.secret_key_file)"
                .to_owned(),
        );
    }
    Ok(())
}

/// A run that has the name, as it was seen first.
struct Watched {
    node: Node,
    since: Instant,
}

/// Tries to take the name once. `last` are the runs that this data directory had before: its lock is ours, so they are dead.
async fn take(
    registry: &Registry,
    node: &Node,
    last: &str,
    watched: &mut Option<Watched>,
) -> Result<Entered> {
    let db = registry.db();
    let (found, now) = {
        let mut reader = db.reader().await?;
        let now = reader.now(db.clock()).await?;
        (nodes::find(&mut reader, &node.name).await?, now)
    };
    let Some(other) = found else {
        return enter(registry, node, None, true).await;
    };
    // A copy of the directory on another machine knows the run too.
    let is_ours = other.host == node.host && last.lines().any(|run| run == other.run);
    if db.is_exclusive() || is_ours {
        return enter(registry, node, Some(other), true).await;
    }
    let Some(first) = watched else {
        tracing::info!(
            node = other.name,
            host = other.host,
            pid = other.pid,
            "waiting to see whether the process that had this node's name still runs"
        );
        *watched = Some(Watched {
            node: other,
            since: Instant::now(),
        });
        return Ok(Entered::No);
    };
    if first.node.run != other.run || first.node.seen_at < other.seen_at {
        bail!(
            "a node named `{}` runs already, on {} (process {}): give each node a name of its own (server.node)",
            other.name,
            other.host,
            other.pid
        );
    }
    if first.since.elapsed() < WATCHED || now.since(other.seen_at) < SILENT {
        return Ok(Entered::No);
    }
    enter(registry, node, Some(other), false).await
}

/// What came of an attempt to be one of the nodes.
enum Entered {
    Yes,
    /// The name is another's, after all.
    No,
    /// This process may not serve from this database, and why.
    Refused(String),
}

async fn enter(
    registry: &Registry,
    node: &Node,
    seen: Option<Node>,
    dead: bool,
) -> Result<Entered> {
    let (node, own) = (node.clone(), registry.clone());
    let entered = registry.db().write(move |tx| {
        let (mut node, seen, own) = (node.clone(), seen.clone(), own.clone());
        Box::pin(async move {
            // Who gives the database another store changes this, and asks afterwards which nodes there are.
            facts::hold(tx, facts::STORE_ID).await?;
            if let Some(why) = why_not(tx, &own).await? {
                return Ok(Entered::Refused(why));
            }
            node.seen_at = tx.now().await?;
            if let Some(mover) = who_moves(tx, &node).await? {
                return Ok(Entered::Refused(format!(
                    "a move of this registry has begun, and the node `{}` on {} runs: start this one when the move has ended, or was given up (`seawall move --status` and `--abort` there); a node that was killed is forgotten in 15 s",
                    mover.name, mover.host
                )));
            }
            Ok(if nodes::enter(tx, &node, seen.as_ref(), dead).await? {
                Entered::Yes
            } else {
                Entered::No
            })
        })
    });
    Ok(entered.await?)
}

/// The node that is to be alone for the time of a move that has begun; none when it is not there any more.
async fn who_moves(tx: &mut Tx, newcomer: &Node) -> model::Result<Option<Node>> {
    if !tx.locks_rows() || moving::begun(tx).await?.is_none() {
        return Ok(None);
    }
    let alive = nodes::seen_since(tx, newcomer.seen_at.minus(SILENT)).await?;
    let mut others = alive.into_iter().filter(|node| node.name != newcomer.name);
    Ok(others.next())
}

/// Why the registry may not serve from this database, if so. In a writing transaction, in whose time no move ends.
async fn why_not(tx: &mut Tx, registry: &Registry) -> model::Result<Option<String>> {
    if let Some(place) = moving::moved_to(tx).await? {
        return Ok(Some(format!("the registry has moved to `{place}`")));
    }
    let known = facts::find(tx, facts::STORE_ID).await?;
    Ok((known != Some(registry.store_id())).then(|| {
        "the database names another store now than the one that this process has open: see whether storage.url names it, and start again".to_owned()
    }))
}

async fn note(file: &PathBuf, text: &str) -> Result<()> {
    tokio::fs::write(file, text)
        .await
        .with_context(|| format!("cannot write `{}`", file.display()))
}

/// How far our clock is ahead of the database's, in microseconds, as far as the way there and back lets one tell.
async fn clock_offset(db: &Db) -> Result<i64> {
    if db.is_exclusive() {
        return Ok(0);
    }
    let before = db.clock().now();
    let told = db.now().await?;
    let after = db.clock().now();
    Ok(before.0.midpoint(after.0) - told.0)
}

/// The machine's name.
pub fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
