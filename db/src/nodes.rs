//! The processes that serve this registry, as each tells of itself every few seconds.

use std::{collections::BTreeMap, time::Duration};

use model::{Error, Result, What, error::internal, time::Timestamp};

use crate::{Conn, Db, Tx, uploads, value::Row};

/// Most nodes that are read at once.
const MOST: i64 = 10_000;
/// Who told nothing for so long does not serve any more.
pub const SILENT: Duration = Duration::from_secs(15);
/// How long one is remembered that nobody has seen.
pub const KEPT: Duration = Duration::from_hours(24);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    /// One start of its process: another that goes by the same name has another. Empty with versions that did not tell it.
    pub run: String,
    pub host: String,
    pub pid: i64,
    pub version: String,
    /// Where it listens, as URLs.
    pub addresses: Vec<String>,
    /// Jobs at once.
    pub workers: i64,
    pub started_at: Timestamp,
    pub seen_at: Timestamp,
    /// How far its clock is ahead of the database's, in microseconds.
    pub clock_offset: i64,
    /// What all nodes should have alike, by the configuration's key. No secrets.
    pub settings: BTreeMap<String, String>,
    /// What its `/readyz` says: `ready`, `degraded`, `failed`, `draining`, `starting`.
    pub state: String,
    /// Since when an operator wants no new work on it.
    pub drained_at: Option<Timestamp>,
    /// The fingerprint of the key file that it has for the next change; empty without one.
    pub next_key: String,
}

impl Node {
    /// Keys of the configuration that another has otherwise, and should not. Versions that tell nothing of them differ in none.
    pub fn differs(&self, other: &Self) -> Vec<String> {
        let same = |(key, value): &(&String, &String)| {
            other
                .settings
                .get(*key)
                .is_none_or(|theirs| theirs == *value)
        };
        let differing = self.settings.iter().filter(|one| !same(one));
        differing.map(|(key, _)| key.clone()).collect()
    }
}

fn read(row: &Row<'_>) -> Result<Node> {
    Ok(Node {
        name: row.text(0)?,
        run: row.text(1)?,
        host: row.text(2)?,
        pid: row.int(3)?,
        version: row.text(4)?,
        addresses: serde_json::from_str(&row.text(5)?).map_err(internal("reading a node"))?,
        workers: row.int(6)?,
        started_at: row.time(7)?,
        seen_at: row.time(8)?,
        clock_offset: row.int(9)?,
        settings: serde_json::from_str(&row.text(10)?).map_err(internal("reading a node"))?,
        state: row.text(11)?,
        drained_at: row.opt_time(12)?,
        next_key: row.text(13)?,
    })
}

/// Those that were seen since, by name.
pub async fn seen_since(conn: &mut Conn, since: Timestamp) -> Result<Vec<Node>> {
    conn.rows(
        "SELECT name, run, host, pid, version, addresses, workers, started_at, seen_at, clock_offset, settings, state, drained_at, next_key
           FROM nodes WHERE seen_at >= $1 ORDER BY name LIMIT $2",
        &[since.into(), MOST.into()],
        read,
    )
    .await
}

/// Those that serve now. Where no other process writes the database that is this one, whenever it last said so.
pub async fn alive(db: &Db) -> Result<Vec<Node>> {
    let mut reader = db.reader().await?;
    let now = reader.now(db.clock()).await?;
    if !db.is_exclusive() {
        return seen_since(&mut reader, now.minus(SILENT)).await;
    }
    let mut own: Vec<Node> = find(&mut reader, db.node()).await?.into_iter().collect();
    for node in &mut own {
        node.seen_at = now;
    }
    Ok(own)
}

pub async fn find(conn: &mut Conn, name: &str) -> Result<Option<Node>> {
    conn.row(
        "SELECT name, run, host, pid, version, addresses, workers, started_at, seen_at, clock_offset, settings, state, drained_at, next_key
           FROM nodes WHERE name = $1",
        &[name.into()],
        read,
    )
    .await
}

/// Takes the name from a run that had it, as it was `seen`, or from nobody, and says what this one is. False when that run is not silent
/// after all, or another was faster. What the run wrote to it may still write to, unless it is sure to be `dead`.
pub async fn enter(tx: &mut Tx, node: &Node, seen: Option<&Node>, dead: bool) -> Result<bool> {
    if let Some(before) = seen {
        let gone = tx
            .execute(
                "DELETE FROM nodes WHERE name = $1 AND run = $2 AND seen_at = $3",
                &[
                    (&node.name).into(),
                    (&before.run).into(),
                    before.seen_at.into(),
                ],
            )
            .await?;
        if gone == 0 {
            return Ok(false);
        }
        if !dead {
            uploads::leave_to(tx, &node.name, &before.run).await?;
        }
    }
    let addresses = serde_json::to_string(&node.addresses).map_err(internal("writing a node"))?;
    let settings = serde_json::to_string(&node.settings).map_err(internal("writing a node"))?;
    let made = tx.execute(
        "INSERT INTO nodes (name, run, host, pid, version, addresses, workers, started_at, seen_at, clock_offset, settings, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (name) DO NOTHING",
        &[
            (&node.name).into(),
            (&node.run).into(),
            (&node.host).into(),
            node.pid.into(),
            (&node.version).into(),
            (&addresses).into(),
            node.workers.into(),
            node.started_at.into(),
            node.seen_at.into(),
            node.clock_offset.into(),
            (&settings).into(),
            (&node.state).into(),
        ],
    )
    .await?;
    Ok(made == 1)
}

/// What a node says every few seconds.
#[derive(Debug, Clone)]
pub struct Sign<'a> {
    pub name: &'a str,
    pub run: &'a str,
    pub state: &'a str,
    /// In microseconds.
    pub clock_offset: i64,
    /// The fingerprint of the key file that is to come; empty without one.
    pub next_key: &'a str,
}

/// Tells that a node is alive; answers whether it is drained, and nothing when its row is gone or another's.
pub async fn see(tx: &mut Tx, sign: &Sign<'_>, now: Timestamp) -> Result<Option<bool>> {
    tx.row(
        "UPDATE nodes SET seen_at = $3, state = $4, clock_offset = $5, next_key = $6 WHERE name = $1 AND run = $2 RETURNING drained_at IS NOT NULL",
        &[
            sign.name.into(),
            sign.run.into(),
            now.into(),
            sign.state.into(),
            sign.clock_offset.into(),
            sign.next_key.into(),
        ],
        |row| row.bool(0),
    )
    .await
}

/// A run of a node stops.
pub async fn leave(tx: &mut Tx, name: &str, run: &str) -> Result<()> {
    tx.execute(
        "DELETE FROM nodes WHERE name = $1 AND run = $2",
        &[name.into(), run.into()],
    )
    .await
    .map(|_| ())
}

/// Asks a node to take no new work, or to take it again. It does so within seconds.
///
/// Refused for a node that would not hear of it: one that is not there, or of a version that does not know of draining.
pub async fn ask(db: &Db, name: &str, drained: bool) -> Result<()> {
    let alive = alive(db).await?;
    let node = alive.iter().find(|node| node.name == name).ok_or_else(|| {
        Error::not_found(
            What::Node,
            format!("no node `{name}` serves this registry: `seawall node ls` shows those that do"),
        )
    })?;
    if node.run.is_empty() {
        return Err(Error::Precondition(format!(
            "node `{name}` runs an older version, which cannot be drained"
        )));
    }
    let name = name.to_owned();
    db.write(move |tx| {
        let name = name.clone();
        Box::pin(async move {
            let since = if drained { Some(tx.now().await?) } else { None };
            tx.execute(
                "UPDATE nodes SET drained_at = $2 WHERE name = $1",
                &[(&name).into(), since.into()],
            )
            .await
            .map(|_| ())
        })
    })
    .await
}

/// Forgets those that were not seen since.
pub async fn forget(tx: &mut Tx, before: Timestamp) -> Result<u64> {
    tx.execute("DELETE FROM nodes WHERE seen_at < $1", &[before.into()])
        .await
}
