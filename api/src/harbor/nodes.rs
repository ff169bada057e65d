//! The processes that serve this registry.

use db::nodes;
use schemars::JsonSchema;
use serde::Serialize;

use super::{answer::Done, call::Call, error::Result, input::Json};

#[derive(Serialize, JsonSchema)]
pub(super) struct NodeStatus {
    name: String,
    host: String,
    pid: i64,
    version: String,
    /// URLs on which it listens.
    addresses: Vec<String>,
    /// What its `/readyz` says: `ready`, `degraded`, `failed`, `draining`, `starting`.
    state: String,
    /// Whether an operator wants no new work on it.
    drained: bool,
    start_time: String,
    /// When it last told of itself.
    heartbeat_time: String,
    /// How far its clock is ahead of the database's, in milliseconds.
    clock_offset_ms: i64,
    /// Keys of the configuration that differ from this node's, which should not.
    differs: Vec<String>,
}

/// Those that serve now.
pub(super) async fn list(call: Call) -> Result<Json<Vec<NodeStatus>>> {
    let db = call.app().registry.db();
    let all = nodes::alive(db).await?;
    let own = all.iter().find(|node| node.name == db.node()).cloned();
    let shown = all.into_iter().map(|node| NodeStatus {
        differs: own.as_ref().map_or_else(Vec::new, |own| own.differs(&node)),
        name: node.name,
        host: node.host,
        pid: node.pid,
        version: node.version,
        addresses: node.addresses,
        state: node.state,
        drained: node.drained_at.is_some(),
        start_time: node.started_at.rfc3339(),
        heartbeat_time: node.seen_at.rfc3339(),
        clock_offset_ms: node.clock_offset / 1000,
    });
    Ok(Json(shown.collect()))
}

pub(super) async fn drain(call: Call) -> Result<Done> {
    ask(&call, true).await
}

pub(super) async fn resume(call: Call) -> Result<Done> {
    ask(&call, false).await
}

async fn ask(call: &Call, drained: bool) -> Result<Done> {
    let db = call.app().registry.db();
    nodes::ask(db, call.param("node_name"), drained).await?;
    Ok(Done)
}
