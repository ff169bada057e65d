//! When remembered reads stop being true. A reader notes the generation before it reads and may remember the result as
//! long as the generation stays; a writer moves it on after its COMMIT and before its answer. Where several processes
//! write one database nothing is remembered (see `Db::is_exclusive`).

use std::sync::atomic::{AtomicU64, Ordering};

use model::id::RepositoryId;

const SHARDS: usize = 1024;

/// What a write made out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Users, members, robots, projects, settings: who may do what, and which repositories there are.
    Rights,
    /// The tags, manifests and contents of one repository.
    Repository(RepositoryId),
    /// Locations and states of contents anywhere.
    Blobs,
}

/// A generation as it was when something was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    rights: u64,
    repository: u64,
    blobs: u64,
}

pub struct Generations {
    rights: AtomicU64,
    blobs: AtomicU64,
    repositories: Box<[AtomicU64]>,
}

impl Default for Generations {
    fn default() -> Self {
        Self {
            rights: AtomicU64::new(0),
            blobs: AtomicU64::new(0),
            repositories: (0..SHARDS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Generations {
    /// The generation of rights alone.
    pub fn rights(&self) -> u64 {
        self.rights.load(Ordering::Acquire)
    }

    /// The generation of everything a pull from this repository depends on.
    pub fn of(&self, repository: RepositoryId) -> Seen {
        Seen {
            rights: self.rights(),
            repository: self.shard(repository).load(Ordering::Acquire),
            blobs: self.blobs.load(Ordering::Acquire),
        }
    }

    pub(crate) fn touch(&self, touch: Touch) {
        match touch {
            Touch::Rights => &self.rights,
            Touch::Repository(id) => self.shard(id),
            Touch::Blobs => &self.blobs,
        }
        .fetch_add(1, Ordering::AcqRel);
    }

    /// Nothing that was remembered holds any more.
    pub(crate) fn touch_all(&self) {
        for generation in self.repositories.iter().chain([&self.rights, &self.blobs]) {
            generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn shard(&self, repository: RepositoryId) -> &AtomicU64 {
        &self.repositories[repository.0.unsigned_abs() as usize % SHARDS]
    }
}
