//! How much may run at once. Long transfers and small requests have separate room, so that a thousand pulls do not keep a
//! manifest's HEAD or a health check waiting; what finds no room is asked to come back.

use std::{sync::Arc, time::Duration};

use model::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub struct Admission {
    uploads: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    requests: Arc<Semaphore>,
}

/// The kind of room a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Upload,
    Download,
    Small,
}

/// Held as long as the request, or its answer's body, runs.
pub type Permit = OwnedSemaphorePermit;

impl Admission {
    pub fn new(uploads: usize, downloads: usize, requests: usize) -> Self {
        let room =
            |permits: usize| Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            uploads: room(uploads),
            downloads: room(downloads),
            requests: room(requests),
        }
    }

    pub fn enter(&self, room: Room) -> Result<Permit> {
        let semaphore = match room {
            Room::Upload => &self.uploads,
            Room::Download => &self.downloads,
            Room::Small => &self.requests,
        };
        Arc::clone(semaphore)
            .try_acquire_owned()
            .map_err(|_| Error::TooMany {
                retry_after: Duration::from_secs(1),
            })
    }
}
