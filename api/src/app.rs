//! What every handler works with.

use std::{sync::Arc, time::Duration};

use auth::Auth;
use bytes::Bytes;
use db::users::Forget;
use http::HeaderValue;
use ipnet::IpNet;
use outbound::Outbound;
use registry::Registry;
use tokio_util::task::TaskTracker;

use crate::{access::AccessLog, admission::Admission, health::Health, measure::Measures};

/// The one state of the HTTP faces.
pub struct App {
    pub registry: Registry,
    pub auth: Auth,
    /// Whatever is called outside.
    pub outbound: Outbound,
    pub config: Config,
    pub admission: Admission,
    pub health: Arc<Health>,
    /// Where writing requests run, so that one whose client has gone still comes to an end in order.
    pub writes: TaskTracker,
    pub measures: Measures,
    pub access: Option<AccessLog>,
    /// Renders the process's metrics in Prometheus' text format; none when metrics are switched off.
    pub metrics: Option<Box<dyn Fn() -> String + Send + Sync>>,
    /// Reads the certificate of the authority that clients must trust to trust this server, in PEM; none without TLS of our own
    /// or a file for it. Blocks.
    pub authority: Option<Authority>,
}

/// Gives the file's content, or none when there is no such certificate.
pub type Authority = Arc<dyn Fn() -> Option<Bytes> + Send + Sync>;

#[derive(Debug, Clone)]
pub struct Config {
    /// Named in realms and links when the host that the client asked is not to be trusted.
    pub external_url: Option<String>,
    /// The longest silence of a request's body.
    pub body_idle: Duration,
    /// What of a deleted user does not stay: for `db::users::forget`, beside `delete`.
    pub forget: Forget,
    /// Which clients are sent to the store for what they pull, where any are; empty: all.
    pub redirect_clients: Vec<IpNet>,
    /// This node's name, when answers tell it.
    pub node: Option<HeaderValue>,
}
