use std::collections::BTreeMap;

use db::nodes::Node;
use model::time::Timestamp;

/// A node that serves, without its process, as it says now.
pub fn node(name: &str, run: &str, now: Timestamp) -> Node {
    Node {
        name: name.to_owned(),
        run: run.to_owned(),
        host: "elsewhere".to_owned(),
        pid: 1,
        version: "1".to_owned(),
        addresses: Vec::new(),
        workers: 1,
        started_at: now,
        seen_at: now,
        clock_offset: 0,
        settings: BTreeMap::new(),
        state: "ready".to_owned(),
        drained_at: None,
        next_key: String::new(),
    }
}
