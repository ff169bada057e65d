//! The processes that serve this registry.

use db::nodes;
use model::Result;

use super::House;
use crate::{control::answer, presence::UPLOADS};

/// All that served within a day; those that serve now are told from those that do not by `alive`.
pub(super) async fn list(house: &House) -> Result<Vec<answer::Node>> {
    let db = house.db();
    let alive = if house.runs_jobs || !db.is_exclusive() {
        nodes::alive(db).await?
    } else {
        Vec::new()
    };
    let all = {
        let mut reader = db.reader().await?;
        let now = reader.now(db.clock()).await?;
        nodes::seen_since(&mut reader, now.minus(nodes::KEPT)).await?
    };
    let own = alive.iter().find(|node| node.name == db.node());
    let shown = |node: nodes::Node| {
        let now = alive.iter().find(|one| one.name == node.name);
        let differs = own.zip(now).map(|(own, now)| own.differs(now));
        answer::Node {
            alive: now.is_some(),
            seen_at: now.map_or(node.seen_at, |now| now.seen_at).rfc3339(),
            differs: differs.unwrap_or_default(),
            name: node.name,
            host: node.host,
            pid: node.pid,
            version: node.version,
            addresses: node.addresses,
            state: node.state,
            drained: node.drained_at.is_some(),
            started_at: node.started_at.rfc3339(),
            clock_offset_ms: node.clock_offset / 1000,
        }
    };
    Ok(all.into_iter().map(shown).collect())
}

/// The key file that is to come counts from now on; answers its fingerprint.
pub(super) async fn rotate_secret_key(house: &House, early: bool) -> Result<String> {
    let fingerprint = house.auth.rotate_secret_key(early).await?;
    house
        .registry
        .sign_uploads_with(&house.auth.derived_keys(UPLOADS));
    Ok(fingerprint)
}
