//! The rules of push, pull, mount, delete, keep and collect, over the database and the store. No HTTP: the same rules
//! serve requests, jobs and commands.

pub mod activity;
pub mod additions;
pub mod collect;
pub mod copy;
pub mod delete;
pub mod describe;
mod first_read;
pub mod fsck;
pub mod icons;
pub mod import;
pub mod manifest;
pub mod mount;
pub mod moving;
mod named;
pub mod pull;
pub mod push;
mod quota;
pub mod rebuild;
pub mod retain;
pub mod scrub;
pub mod session;
pub mod small;
pub mod space;
pub mod store_fault;
pub mod tag;
pub mod trash;
pub mod untagged;
pub mod upload;
#[cfg(test)]
mod world;

use std::{sync::Arc, time::Duration};

use blob::Store;
use db::Db;
use model::actor::Actor;
use parking_lot::Mutex;

pub use store_fault::store_error;

/// How long things are kept, and what may be remembered.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long content that no manifest names yet, and an upload that nobody continues, are kept.
    pub uploads_expire: Duration,
    /// How long released content waits for the collector; zero is safe.
    pub gc_grace: Duration,
    /// How old a manifest without a tag must be before a collection that takes those may take it: a client pushes the manifests of an
    /// index before the index.
    pub gc_untagged_grace: Duration,
    /// How long what somebody deletes stays in the trash; zero: it does not go there.
    pub trash_keep: Duration,
    /// The same of what a retention policy deletes.
    pub trash_keep_retention: Duration,
    /// How long the bytes of a claimed content wait for replicas of the database that have not got the claim yet.
    pub failover_window: Duration,
    /// Bytes of manifests remembered.
    pub manifest_cache: u64,
    /// Where nodes find small contents of a bucket that another has read.
    pub cache: cache::Cache,
    /// Bytes per second that scrubbing may read; none: as fast as it goes.
    pub scrub_rate: Option<u64>,
    /// How old the last check of a content may be before it is due again.
    pub scrub_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            uploads_expire: Duration::from_hours(24),
            gc_grace: Duration::from_hours(2),
            gc_untagged_grace: Duration::from_hours(2),
            trash_keep: Duration::ZERO,
            trash_keep_retention: Duration::from_hours(7 * 24),
            failover_window: Duration::from_mins(10),
            manifest_cache: 64 << 20,
            cache: cache::Cache::default(),
            scrub_rate: Some(20 << 20),
            scrub_interval: Duration::from_hours(30 * 24),
        }
    }
}

/// The registry: a database, a store, and what is remembered of them. A clone is another handle.
#[derive(Clone)]
pub struct Registry(Arc<Inner>, Db);

struct Inner {
    store: Store,
    store_id: Mutex<String>,
    config: Config,
    sessions: session::Sessions,
    remembered: pull::Remembered,
    judging: scrub::Judging,
    readings: first_read::Readings,
    additions: additions::Turns,
    activity: activity::Activity,
    icons: icons::Small,
    publishing: moving::Publishing,
}

impl Registry {
    /// With the keys that sign ids of uploads, as [`Self::sign_uploads_with`] has them; all nodes of a cluster have the same.
    pub fn new(db: Db, store: Store, config: Config, upload_keys: &[[u8; 32]]) -> Self {
        let remembered = pull::Remembered::new(config.manifest_cache);
        let inner = Inner {
            store,
            store_id: Mutex::default(),
            config,
            sessions: session::Sessions::new(upload_keys),
            remembered,
            judging: scrub::Judging::default(),
            readings: first_read::Readings::default(),
            additions: additions::Turns::default(),
            activity: activity::Activity::default(),
            icons: icons::Small::default(),
            publishing: moving::Publishing::default(),
        };
        Self(Arc::new(inner), db)
    }

    /// The identity that the store has to have, as long as it is this registry's: a move ends with another.
    pub fn store_id(&self) -> String {
        self.0.store_id.lock().clone()
    }

    pub fn set_store_id(&self, id: &str) {
        id.clone_into(&mut self.0.store_id.lock());
    }

    /// Ids of uploads are signed with the first of these keys from now on; those that any of them signed are valid.
    pub fn sign_uploads_with(&self, keys: &[[u8; 32]]) {
        self.0.sessions.seal_with(keys);
    }

    /// The same registry for jobs: with database connections that no request waits for.
    #[must_use]
    pub fn in_background(&self) -> Self {
        Self(self.0.clone(), self.1.in_background())
    }

    /// The same registry for whoever pulls: while the database is away, what it said last will do.
    #[must_use]
    pub fn or_last_known(&self) -> Self {
        Self(self.0.clone(), self.1.or_last_known())
    }

    /// The same registry for somebody: what he changes is told of him.
    #[must_use]
    pub fn by(&self, actor: Arc<Actor>) -> Self {
        Self(self.0.clone(), self.1.by(actor))
    }

    pub fn db(&self) -> &Db {
        &self.1
    }

    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Where pulls and pushes are counted.
    pub fn activity(&self) -> &activity::Activity {
        &self.0.activity
    }

    pub fn config(&self) -> &Config {
        &self.0.config
    }
}
