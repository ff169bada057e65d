//! The whole configuration: built-in defaults, then `seawall.toml`, then the environment, then flags; the later wins.
//!
//! Parsed means valid: whoever holds a `Config` need not check its values again. Loading depends on its arguments alone (and on
//! the files that `…_FILE` variables name), so that every rule stands in a table of tests.

mod decode;
mod error;
mod pins;
mod redis;
mod sections;
pub mod sources;
pub mod storage;
mod swift;
mod tree;
mod urls;
pub mod values;

use std::{collections::BTreeMap, fmt, num::NonZero, path::Path, thread};

use model::settings::Pinned;
use outbound::Outbound;
use serde::Deserialize;

pub use self::{
    error::ConfigError,
    redis::Redis,
    sections::{
        Audit, Auth, Cache, Database, Gc, Gdpr, Jobs, Limits, Metrics, Proxy, Scrub, Server, Trash,
        Trust, Uploads,
    },
    sources::{Flags, Sources},
    storage::{Storage, StorageUrl},
    urls::DatabaseUrl,
};
use self::{
    tree::{Kind, Node, Origin},
    urls::in_data,
};
use crate::{
    listen::{self, Drain, ListenerConfig, TlsConfig},
    telemetry::{self, Target},
};

/// Everything that can be configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub listen: Vec<ListenerConfig>,
    pub tls: TlsConfig,
    pub database: Database,
    pub storage: Storage,
    pub redis: Redis,
    pub gc: Gc,
    pub trash: Trash,
    pub jobs: Jobs,
    pub uploads: Uploads,
    pub scrub: Scrub,
    pub cache: Cache,
    pub drain: Drain,
    pub limits: Limits,
    pub auth: Auth,
    #[serde(deserialize_with = "pins::pinned")]
    pub settings: Pinned,
    pub audit: Audit,
    pub gdpr: Gdpr,
    pub trust: Trust,
    pub proxy: Proxy,
    pub log: telemetry::Config,
    pub metrics: Metrics,
    /// What a move has changed of this: see `moving`.
    #[serde(skip)]
    pub moved: Moved,
}

/// Where a move brought the contents.
#[derive(Clone, Debug)]
pub struct MovedTo {
    /// The move's id.
    pub by: String,
    pub storage: Storage,
    /// Where they were, as it was shown then: a place may be written in several ways.
    pub left: Option<String>,
}

/// A registry that is elsewhere than its configuration says.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    /// Where moves brought the contents, the newest first: the one that the database names too has come to its end.
    pub storages: Vec<MovedTo>,
    /// Where the contents were before, once it is known where they are.
    pub left: Option<Box<Storage>>,
    /// Where the database was, by the configuration.
    pub from: Option<Box<Database>>,
    /// Where it was before the last move.
    pub before: Option<Box<Database>>,
    /// Whether a record says what the configuration does.
    pub is_known: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: Server::default(),
            listen: vec![ListenerConfig::default()],
            tls: TlsConfig::default(),
            database: Database::default(),
            storage: Storage::default(),
            redis: Redis::default(),
            gc: Gc::default(),
            trash: Trash::default(),
            jobs: Jobs::default(),
            uploads: Uploads::default(),
            scrub: Scrub::default(),
            cache: Cache::default(),
            drain: Drain::default(),
            limits: Limits::default(),
            auth: Auth::default(),
            settings: Pinned::default(),
            audit: Audit::default(),
            gdpr: Gdpr::default(),
            trust: Trust::default(),
            proxy: Proxy::default(),
            log: telemetry::Config::default(),
            metrics: Metrics::default(),
            moved: Moved::default(),
        }
    }
}

impl Config {
    /// Puts the sources over one another and reads the result.
    pub fn load(sources: Sources) -> Result<Self, ConfigError> {
        let host_name = sources.host_name.clone();
        let overwrite = sources.overwrite();
        let environment = sources.of_stores();
        // One who tries a configuration on another port may leave its TLS aside.
        let replaced = !sources.flags.listen.is_empty();
        let root = Node::new(Kind::Table(sources.merged()?), Origin::Flag("--config"));
        let mut config = Self::deserialize(&root)?;
        config.storage.environment = environment;
        config.storage.check()?;
        config.database.check()?;
        config.redis.check()?;
        config.complete(&host_name);
        pins::complete(&mut config, overwrite.as_deref())?;
        let node = &config.server.node;
        if !is_node_name(node) {
            return Err(ConfigError::new(format!(
                "`server.node` is `{node}`: expected 1 to 128 letters, digits and signs of ASCII without `/`"
            )));
        }
        if config.listen.is_empty() {
            return Err(ConfigError::new(
                "`listen` is an empty list: name at least one address".to_owned(),
            ));
        }
        let listening = config.listening();
        listening
            .check()
            .map_err(|error| ConfigError::new(error.to_string()))?;
        match listening.without_effect() {
            Some(what) if !replaced => Err(ConfigError::new(what)),
            _ => Ok(config),
        }
    }

    /// What the accept side needs, which stands in several sections.
    pub fn listening(&self) -> listen::Config {
        listen::Config {
            listeners: self.listen.clone(),
            tls: self.tls.clone(),
            trusted_proxies: self.server.trusted_proxies.clone(),
            limits: listen::Limits {
                max_connections: self.limits.max_connections,
                max_header_bytes: self.limits.max_header_bytes,
                header_timeout: self.limits.header_timeout,
                idle_timeout: self.limits.idle_timeout,
                write_timeout: self.limits.body_idle,
                linger: self.limits.linger,
                tls_timeout: self.limits.tls_timeout,
                proxy_timeout: self.limits.proxy_timeout,
            },
            drain: self.drain,
        }
    }

    /// What all nodes of a cluster should have alike, by key. No secrets: of what pins a setting the name alone.
    pub fn shared(&self) -> BTreeMap<String, String> {
        let shown = |value: &dyn fmt::Debug| format!("{value:?}");
        let external_url = self.server.external_url.as_ref().map(ToString::to_string);
        let pinned: Vec<&String> = self.settings.values.keys().collect();
        [
            ("server.external_url", shown(&external_url)),
            (
                "database.failover_window",
                shown(&self.database.failover_window),
            ),
            ("gc.grace", shown(&self.gc.grace)),
            ("gc.untagged_grace", shown(&self.gc.untagged_grace)),
            ("trash.keep", shown(&self.trash.keep)),
            ("trash.keep_retention", shown(&self.trash.keep_retention)),
            ("uploads.expire", shown(&self.uploads.expire)),
            ("auth.anonymous", shown(&self.auth.anonymous)),
            ("auth.token_expiration", shown(&self.auth.token_expiration)),
            ("audit.keep", shown(&self.audit.keep)),
            ("gdpr.delete_user", shown(&self.gdpr.delete_user)),
            ("gdpr.audit_logs", shown(&self.gdpr.audit_logs)),
            ("settings", shown(&pinned)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// What everything is called with.
    pub fn outbound(&self) -> Outbound {
        let proxy = outbound::Proxy {
            http: self.proxy.http.clone(),
            https: self.proxy.https.clone(),
            direct: self.proxy.no_proxy.clone(),
        };
        Outbound::new(outbound::Trust::new(&self.trust.ca_files), proxy)
    }

    /// Fills in what depends on the machine and on the data directory.
    fn complete(&mut self, host_name: &str) {
        let data = self.server.data.clone();
        self.server.secret_key_file = in_data(&self.server.secret_key_file, &data);
        if self.server.node.is_empty() {
            host_name.clone_into(&mut self.server.node);
        }
        if let DatabaseUrl::Sqlite(path) = &mut self.database.url {
            *path = in_data(path, &data);
        }
        if let Some(file) = &mut self.database.password_file {
            *file = in_data(file, &data);
        }
        if let StorageUrl::File(path) = &mut self.storage.url {
            *path = in_data(path, &data);
        }
        self.redis.complete(&data);
        for file in &mut self.trust.ca_files {
            *file = in_data(file, &data);
        }
        place_log(&mut self.log.target, &data);
        if let Some(target) = &mut self.log.access_target {
            place_log(target, &data);
        }
        if self.limits.password_hashing == 0 {
            // Half of them: strangers who guess passwords must leave room for those who pull.
            let processors = thread::available_parallelism().map_or(1, NonZero::get);
            self.limits.password_hashing = (processors / 2).max(1);
        }
    }
}

/// It stands in headers and in paths.
fn is_node_name(name: &str) -> bool {
    (1..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
}

fn place_log(target: &mut Target, data: &Path) {
    if let Target::File(path) = target {
        *path = in_data(path, data);
    }
}

#[cfg(test)]
mod tests;
