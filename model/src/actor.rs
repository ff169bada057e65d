//! Who writes: it stands in the audit beside everything that changes.

use std::net::IpAddr;

/// Somebody who changes something, as people know him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// A user's name or a robot's whole name.
    pub name: String,
    /// Where his request came from.
    pub address: Option<IpAddr>,
}

impl Actor {
    /// Whoever asked without saying who he is.
    pub const ANONYMOUS: &'static str = "anonymous";
    /// The registry itself: jobs, commands and what follows from a request by itself.
    pub const SYSTEM: &'static str = "system";

    pub fn new(name: impl Into<String>, address: Option<IpAddr>) -> Self {
        Self {
            name: name.into(),
            address,
        }
    }
}
