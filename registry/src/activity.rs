//! Pulls, pushes and bytes, counted in memory and told to the database every few seconds in a few transactions: a pull writes
//! nothing, and a crash loses the last seconds of counting.
//!
//! What counts as a pull:
//! - A GET of a manifest, by tag or digest, is one; an answer 304, or one to another registry that replicates, is none.
//! - A HEAD is one too, since containerd asks no more when it has the image. Clients that then GET what they asked for pulled
//!   once: all HEADs of one caller for one artifact between two flushes count once, and not at all when a GET of his comes by the
//!   flush after. When it was pulled is told either way.
//! - A scanner's is none; when the artifact was pulled last it tells, unless the setting `scanner_skip_update_pulltime` is on.
//!
//! The audit has a row for each caller, address, artifact and tag of a flush, which says how often: nothing but the order is lost.

mod flush;
mod summary;

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hash},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use auth::Subject;
use db::{activity::Counts, artifacts::Artifact};
use hashbrown::{Equivalent, HashMap};
use model::{
    id::{ArtifactId, ProjectId},
    time::Timestamp,
};
use oci::Digest;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Parts of the memory, each with a lock of its own.
const PARTS: usize = 16;
/// What one part keeps between two flushes, of each sort; a few hundred bytes each.
const MOST: usize = 4096;

/// A pull of a manifest, as the request tells of it.
#[derive(Debug, Clone, Copy)]
pub struct Pull<'a> {
    pub repository: &'a str,
    pub project: ProjectId,
    pub artifact: &'a Artifact,
    /// Of the answer; none of a HEAD.
    pub bytes: usize,
    /// Unless it was pulled by digest.
    pub tag: Option<&'a str>,
    pub caller: &'a Subject,
    pub address: Option<IpAddr>,
    pub is_scanner: bool,
    pub is_head: bool,
    pub at: Timestamp,
}

/// What went on since it was last told.
pub struct Activity {
    parts: [Mutex<Part>; PARTS],
    hasher: RandomState,
    /// Rung when a part is half full.
    filling: Notify,
    /// What came when a part was full.
    missed: AtomicU64,
}

#[derive(Default)]
struct Part {
    pulls: HashMap<Key, Pulls>,
    traffic: HashMap<Box<str>, Counts>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    artifact: ArtifactId,
    tag: Option<Box<str>>,
    caller: Caller,
    address: Option<IpAddr>,
    is_scanner: bool,
}

impl Key {
    /// Who pulled what, by whatever reference.
    fn who(&self) -> Who {
        Who {
            artifact: self.artifact,
            caller: self.caller,
            address: self.address,
            is_scanner: self.is_scanner,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Who {
    artifact: ArtifactId,
    caller: Caller,
    address: Option<IpAddr>,
    is_scanner: bool,
}

/// A key to look up with, without its allocation.
#[derive(Hash)]
struct KeyRef<'a> {
    artifact: ArtifactId,
    tag: Option<&'a str>,
    caller: Caller,
    address: Option<IpAddr>,
    is_scanner: bool,
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.artifact == key.artifact
            && self.tag == key.tag.as_deref()
            && self.caller == key.caller
            && self.address == key.address
            && self.is_scanner == key.is_scanner
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Caller {
    Anonymous,
    User(i64),
    Robot(i64),
}

impl Caller {
    fn of(subject: &Subject) -> Self {
        match subject {
            Subject::Anonymous => Self::Anonymous,
            Subject::User(user) => Self::User(user.id.0),
            Subject::Robot(robot) => Self::Robot(robot.id.0),
        }
    }
}

/// The pulls of one key.
#[derive(Debug, Clone)]
struct Pulls {
    repository: Box<str>,
    project: ProjectId,
    digest: Digest,
    subject: Subject,
    /// None: only HEADs came.
    gets: i64,
    bytes: i64,
    /// A HEAD alone has waited for its GET for one flush.
    waited: bool,
    last: Timestamp,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            parts: Default::default(),
            hasher: RandomState::new(),
            filling: Notify::new(),
            missed: AtomicU64::new(0),
        }
    }
}

impl Activity {
    /// Counts a pull: a hash and a short lock (`examples/counting.rs` measures it), and memory only for what was not pulled since
    /// the last flush.
    pub fn pulled(&self, pull: &Pull<'_>) {
        let key = KeyRef {
            artifact: pull.artifact.id,
            tag: pull.tag,
            caller: Caller::of(pull.caller),
            address: pull.address,
            is_scanner: pull.is_scanner,
        };
        let gets = i64::from(!pull.is_head);
        let mut part = self.part(pull.artifact.id).lock();
        if let Some(known) = part.pulls.get_mut(&key) {
            known.gets += gets;
            known.bytes += pull.bytes as i64;
            known.last = known.last.max(pull.at);
            return;
        }
        if !self.has_room(part.pulls.len()) {
            return;
        }
        let key = Key {
            artifact: key.artifact,
            tag: pull.tag.map(Into::into),
            caller: key.caller,
            address: key.address,
            is_scanner: key.is_scanner,
        };
        let first = Pulls {
            repository: pull.repository.into(),
            project: pull.project,
            digest: pull.artifact.digest,
            subject: pull.caller.clone(),
            gets,
            bytes: pull.bytes as i64,
            waited: false,
            last: pull.at,
        };
        part.pulls.insert(key, first);
    }

    /// Counts what else went on in a repository.
    pub fn add(&self, repository: &str, counts: Counts) {
        if counts == Counts::default() {
            return;
        }
        let mut part = self.part(repository).lock();
        if let Some(known) = part.traffic.get_mut(repository) {
            known.add(counts);
        } else if self.has_room(part.traffic.len()) {
            part.traffic.insert(repository.into(), counts);
        }
    }

    fn part(&self, key: impl Hash) -> &Mutex<Part> {
        &self.parts[self.hasher.hash_one(key) as usize % PARTS]
    }

    /// One that finds none is told of in the log, as a number.
    fn has_room(&self, taken: usize) -> bool {
        if taken == MOST / 2 {
            self.filling.notify_one();
        }
        let has_room = taken < MOST;
        if !has_room {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }
}

#[cfg(test)]
mod tests;
