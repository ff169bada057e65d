//! This node among the others: its name is its own, and it tells of itself every few seconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use api::health::Health;
use db::{
    Db,
    nodes::{self, Node, SILENT, Sign},
};
use model::{id::new_uid, time::Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Between two signs of life, and between two looks at whether this node is drained.
const BEAT: Duration = Duration::from_secs(2);
/// How often it is told where nobody else asks.
const SELDOM: Duration = Duration::from_hours(1);
/// Between two looks at who goes by this node's name.
const LOOK: Duration = Duration::from_millis(500);
/// Beats between two comparisons with the other nodes.
const COMPARE: u64 = 15;
/// Holds the last run of this data directory: what it left behind is nobody's any more, since its lock is ours.
const RUN: &str = "seawall.run";

/// What a node says of itself that stays as it is.
pub struct Own {
    pub addresses: Vec<String>,
    pub workers: usize,
    pub secret_key: String,
    pub settings: BTreeMap<String, String>,
}

pub struct Presence {
    db: Db,
    node: Node,
}

impl Presence {
    /// Takes the node's name. Refused while another process goes by it; one that says nothing any more is waited for no longer than
    /// [`SILENT`].
    pub async fn enter(db: &Db, data: &Path, own: Own) -> Result<Self> {
        let file = data.join(RUN);
        let last = fs::read_to_string(&file).unwrap_or_default();
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
            secret_key: own.secret_key,
            settings: own.settings,
            state: "starting".to_owned(),
            drained_at: None,
        };
        let mut seen: Option<Node> = None;
        while !take(db, &node, last.trim(), &mut seen).await? {
            tokio::time::sleep(LOOK).await;
        }
        fs::write(&file, &node.run)
            .with_context(|| format!("cannot write `{}`", file.display()))?;
        Ok(Self {
            db: db.clone(),
            node,
        })
    }

    /// Until `end`: then others may have the name.
    pub async fn keep(
        self,
        health: Arc<Health>,
        drained: watch::Sender<bool>,
        end: CancellationToken,
    ) {
        let mut compared = BTreeSet::new();
        let mut told_at = self.node.started_at;
        for beat in 0.. {
            match self.beat(&health, &drained, &mut told_at).await {
                Ok(()) if beat % COMPARE == 1 => self.compare(&mut compared).await,
                Ok(()) => {}
                Err(error) => tracing::debug!(%error, "this node could not tell that it is there"),
            }
            tokio::select! {
                () = end.cancelled() => break,
                () = tokio::time::sleep(BEAT) => {}
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

    async fn beat(
        &self,
        health: &Health,
        drained: &watch::Sender<bool>,
        told_at: &mut Timestamp,
    ) -> Result<()> {
        let is_drained = match self.sign(health, told_at).await? {
            Some(is_drained) => is_drained,
            // The row of one that was silent for a day is dropped.
            None => match self.found().await? {
                None => {
                    self.enter_again().await?;
                    false
                }
                Some(other) => {
                    tracing::error!(
                        host = other.host,
                        pid = other.pid,
                        "another process goes by this node's name: each needs its own (server.node)"
                    );
                    health.set_replaced(true);
                    drained.send_replace(true);
                    return Ok(());
                }
            },
        };
        health.set_replaced(false);
        health.set_drained(is_drained);
        drained.send_if_modified(|before| std::mem::replace(before, is_drained) != is_drained);
        metrics::gauge!("seawall_node_drained").set(if is_drained { 1.0 } else { 0.0 });
        Ok(())
    }

    /// Whether this node is drained; none when its row is not its own any more. Where nobody else writes the database, it is only looked at.
    async fn sign(&self, health: &Health, told_at: &mut Timestamp) -> Result<Option<bool>> {
        let now = self.db.clock().now();
        if self.db.is_exclusive() && now.since(*told_at) < SELDOM {
            let found = self.found().await?;
            let own = found.filter(|node| node.run == self.node.run);
            return Ok(own.map(|node| node.drained_at.is_some()));
        }
        *told_at = now;
        let clock_offset = clock_offset(&self.db).await?;
        metrics::gauge!("seawall_node_clock_offset_seconds").set(clock_offset as f64 / 1e6);
        let (name, run) = (self.node.name.clone(), self.node.run.clone());
        let state = health.status();
        let told = self.db.write(move |tx| {
            let (name, run) = (name.clone(), run.clone());
            Box::pin(async move {
                let now = tx.now().await?;
                let sign = Sign {
                    name: &name,
                    run: &run,
                    state,
                    clock_offset,
                };
                nodes::see(tx, &sign, now).await
            })
        });
        Ok(told.await?)
    }

    async fn found(&self) -> Result<Option<Node>> {
        Ok(nodes::find(&mut *self.db.reader().await?, &self.node.name).await?)
    }

    async fn enter_again(&self) -> Result<()> {
        let node = self.node.clone();
        let entered = self.db.write(move |tx| {
            let mut node = node.clone();
            Box::pin(async move {
                node.seen_at = tx.now().await?;
                nodes::enter(tx, &node, None).await
            })
        });
        entered.await?;
        Ok(())
    }

    /// Tells once of each node that is configured otherwise, although it should not be.
    async fn compare(&self, told: &mut BTreeSet<(String, Vec<String>)>) {
        let Ok(all) = nodes::alive(&self.db).await else {
            return;
        };
        metrics::gauge!("seawall_nodes").set(all.len() as f64);
        for other in all.iter().filter(|other| other.name != self.node.name) {
            let differs = self.node.differs(other);
            if !differs.is_empty() && told.insert((other.name.clone(), differs.clone())) {
                tracing::warn!(
                    node = other.name,
                    keys = differs.join(", "),
                    "another node has other values of what all should have alike"
                );
            }
        }
    }
}

/// Tries to take the name once. `last` is the run that this data directory had before; `seen` is how the row stood at the look before.
async fn take(db: &Db, node: &Node, last: &str, seen: &mut Option<Node>) -> Result<bool> {
    let (found, now) = {
        let mut reader = db.reader().await?;
        let now = reader.now(db.clock()).await?;
        (nodes::find(&mut reader, &node.name).await?, now)
    };
    let before = match found {
        None => None,
        Some(other)
            if db.is_exclusive()
                || !last.is_empty() && other.run == last
                || now.since(other.seen_at) > SILENT =>
        {
            Some(other.run)
        }
        Some(other) => {
            let is_alive =
                |before: &Node| before.run != other.run || before.seen_at < other.seen_at;
            if seen.as_ref().is_some_and(is_alive) {
                bail!(
                    "a node named `{}` runs already, on {} (process {}): give each node a name of its own (server.node)",
                    other.name,
                    other.host,
                    other.pid
                );
            }
            if seen.is_none() {
                tracing::info!(
                    node = other.name,
                    host = other.host,
                    pid = other.pid,
                    "waiting to see whether the process that had this node's name still runs"
                );
            }
            *seen = Some(other);
            return Ok(false);
        }
    };
    let node = node.clone();
    let entered = db.write(move |tx| {
        let (mut node, before) = (node.clone(), before.clone());
        Box::pin(async move {
            node.seen_at = tx.now().await?;
            nodes::enter(tx, &node, before.as_deref()).await
        })
    });
    Ok(entered.await?)
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

fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
