//! The sections of `seawall.toml`, one struct each, with every key and its default. The sample file shows the same
//! (`seawall.sample.toml`; a test compares them) and docs/configure.md explains them.

use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;
use outbound::proxy::{NoProxy, ProxyUrl};
use serde::Deserialize;

use super::{
    ConfigError,
    urls::{DatabaseUrl, ExternalUrl, no_proxy, proxy_url},
    values::{Secret, duration, head_size, networks, optional_period, period, positive, size},
};
use crate::listen;

/// `[server]`: this process and how it is known.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The data directory.
    pub data: PathBuf,
    /// What links and realms name when the host that was asked is not to be trusted.
    pub external_url: Option<ExternalUrl>,
    /// The key that encrypts secrets in the database; the same file on every node.
    pub secret_key_file: PathBuf,
    /// The name of this node among its peers.
    pub node: String,
    /// Whether answers name the node, in `X-Seawall-Node`.
    pub node_header: bool,
    /// Who may speak for a client: `X-Forwarded-*`, `Forwarded`, PROXY protocol.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./seawall-data"),
            external_url: None,
            secret_key_file: PathBuf::from("DATA/secretkey"),
            node: String::new(),
            node_header: true,
            trusted_proxies: Vec::new(),
        }
    }
}

/// `[database]`: where the metadata are.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    pub url: DatabaseUrl,
    /// The same PostgreSQL database past a pooler in transaction mode.
    pub direct_url: Option<Secret>,
    /// Holds the password of both.
    pub password_file: Option<PathBuf>,
    /// Connections kept to a PostgreSQL server.
    #[serde(deserialize_with = "positive")]
    pub pool_size: usize,
    /// The longest wait for a connection or an answer.
    #[serde(deserialize_with = "period")]
    pub timeout: Duration,
    /// How long deleted bytes wait for replicas of a PostgreSQL server that have not got the deletion yet.
    #[serde(deserialize_with = "duration")]
    pub failover_window: Duration,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: DatabaseUrl::Sqlite(PathBuf::from("DATA/seawall.sqlite")),
            direct_url: None,
            password_file: None,
            pool_size: 16,
            timeout: Duration::from_secs(10),
            failover_window: Duration::from_mins(10),
        }
    }
}

impl Database {
    /// Keys that go together.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if matches!(self.url, DatabaseUrl::Postgres(_)) {
            return Ok(());
        }
        let of_postgres = [
            ("direct_url", self.direct_url.is_some()),
            ("password_file", self.password_file.is_some()),
        ];
        match of_postgres.iter().find(|(_, is_set)| *is_set) {
            Some((key, _)) => Err(ConfigError::new(format!(
                "`database.{key}` is for PostgreSQL, and `database.url` names an SQLite file: remove the one or correct the other"
            ))),
            None => Ok(()),
        }
    }
}

/// `[gc]`: the collection of what nothing names.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gc {
    /// How long what was released stays.
    #[serde(deserialize_with = "duration")]
    pub grace: Duration,
    /// How often the collector looks.
    #[serde(deserialize_with = "period")]
    pub interval: Duration,
    /// How old a manifest without a tag must be to be deleted by a collection that takes those.
    #[serde(deserialize_with = "duration")]
    pub untagged_grace: Duration,
}

impl Default for Gc {
    fn default() -> Self {
        Self {
            grace: Duration::from_hours(2),
            interval: Duration::from_mins(1),
            untagged_grace: Duration::from_hours(2),
        }
    }
}

/// `[trash]`: what was deleted and may be restored.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trash {
    /// How long what somebody deletes stays; 0: it is gone at once.
    #[serde(deserialize_with = "duration")]
    pub keep: Duration,
    /// The same of what a retention policy deletes.
    #[serde(deserialize_with = "duration")]
    pub keep_retention: Duration,
}

impl Default for Trash {
    fn default() -> Self {
        Self {
            keep: Duration::ZERO,
            keep_retention: Duration::from_hours(7 * 24),
        }
    }
}

/// `[jobs]`: what goes on in the background.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jobs {
    /// Jobs that this node runs at once.
    #[serde(deserialize_with = "positive")]
    pub workers: usize,
}

impl Default for Jobs {
    fn default() -> Self {
        Self { workers: 10 }
    }
}

/// `[uploads]`: uploads that were not finished.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Uploads {
    /// How long an unfinished upload, and a blob that no manifest names yet, is kept.
    #[serde(deserialize_with = "period")]
    pub expire: Duration,
}

impl Default for Uploads {
    fn default() -> Self {
        Self {
            expire: Duration::from_hours(24),
        }
    }
}

/// `[scrub]`: the background check of stored bytes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scrub {
    /// Bytes read a second; with 0 nothing is read unless somebody asks for it.
    #[serde(deserialize_with = "size")]
    pub rate: u64,
    /// How long a check of a blob counts.
    #[serde(deserialize_with = "period")]
    pub interval: Duration,
}

impl Default for Scrub {
    fn default() -> Self {
        Self {
            rate: 20 << 20,
            interval: Duration::from_hours(30 * 24),
        }
    }
}

/// `[cache]`: what is remembered in memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Memory for manifests.
    #[serde(deserialize_with = "size")]
    pub manifests: u64,
    /// How long what was resolved last is served while PostgreSQL is away.
    #[serde(deserialize_with = "duration")]
    pub stale: Duration,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            manifests: 64 << 20,
            stale: Duration::from_mins(10),
        }
    }
}

/// `[limits]`: bounds against more than the machine can carry, and against slow clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    #[serde(deserialize_with = "positive")]
    pub max_connections: usize,
    /// Blob uploads whose bytes are being received.
    #[serde(deserialize_with = "positive")]
    pub uploads: usize,
    /// Blob downloads whose bytes are being sent.
    #[serde(deserialize_with = "positive")]
    pub downloads: usize,
    /// All other requests at work.
    #[serde(deserialize_with = "positive")]
    pub requests: usize,
    /// The longest pause within a body, in either direction.
    #[serde(deserialize_with = "period")]
    pub body_idle: Duration,
    /// The time a client has to send a request's head.
    #[serde(deserialize_with = "period")]
    pub header_timeout: Duration,
    /// How long a connection without a request is kept.
    #[serde(deserialize_with = "period")]
    pub idle_timeout: Duration,
    #[serde(deserialize_with = "period")]
    pub tls_timeout: Duration,
    /// The time for the head of the PROXY protocol.
    #[serde(deserialize_with = "period")]
    pub proxy_timeout: Duration,
    /// How long a client may go on sending a body that was refused before its end.
    #[serde(deserialize_with = "duration")]
    pub linger: Duration,
    #[serde(deserialize_with = "head_size")]
    pub max_header_bytes: usize,
    /// Passwords hashed at once; written as 0 it becomes the number of CPUs.
    pub password_hashing: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let connections = listen::Limits::default();
        Self {
            max_connections: connections.max_connections,
            uploads: 256,
            downloads: 8000,
            requests: 4000,
            body_idle: connections.write_timeout,
            header_timeout: connections.header_timeout,
            idle_timeout: connections.idle_timeout,
            tls_timeout: connections.tls_timeout,
            proxy_timeout: connections.proxy_timeout,
            linger: connections.linger,
            max_header_bytes: connections.max_header_bytes,
            password_hashing: 0,
        }
    }
}

/// `[auth]`: who asks.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The life of a bearer token to the second; pins the setting of the same name, which counts minutes.
    #[serde(deserialize_with = "optional_period")]
    pub token_expiration: Option<Duration>,
    /// Public projects can be pulled without a login.
    pub anonymous: bool,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            token_expiration: None,
            anonymous: true,
        }
    }
}

/// `[trust]`: whom Seawall believes when it calls somebody.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trust {
    /// Authorities beside the system's, in PEM.
    pub ca_files: Vec<PathBuf>,
}

/// `[proxy]`: the way out. What is left open stands in the environment, as for other programs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    #[serde(deserialize_with = "proxy_url")]
    pub http: Option<ProxyUrl>,
    #[serde(deserialize_with = "proxy_url")]
    pub https: Option<ProxyUrl>,
    #[serde(deserialize_with = "no_proxy")]
    pub no_proxy: NoProxy,
}

/// `[audit]`: who did what.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// How long its rows stay; with 0 for ever, as with Harbor: nobody should lose evidence by a default.
    #[serde(deserialize_with = "duration")]
    pub keep: Duration,
}

/// `[gdpr]`: what of a deleted user does not stay.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gdpr {
    /// A hash takes the place of his name, e-mail address and real name in his row.
    pub delete_user: bool,
    /// It takes the place of his name in the audit.
    pub audit_logs: bool,
}

/// `[metrics]`: figures for Prometheus.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    pub enabled: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { enabled: true }
    }
}
