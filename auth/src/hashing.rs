//! Password hashing takes a CPU for tens of milliseconds and 19 MiB of memory each: so many at once as configured, a
//! bounded number waits, further ones are asked to come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use model::{Error, Result, error::internal};
use tokio::sync::Semaphore;

/// At two hashes at once and 30 ms each the last one waits for about a second.
pub(crate) const MOST_WAITING: usize = 64;

pub(crate) struct Hashing {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Hashing {
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(at_once.max(1))),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Runs the work on a thread that may block, when its turn comes.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let slot = match self.slots.clone().try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => {
                let _place = Place::take(&self.waiting)?;
                self.slots
                    .clone()
                    .acquire_owned()
                    .await
                    .map_err(internal("waiting for a turn to hash"))?
            }
        };
        let task = tokio::task::spawn_blocking(move || {
            // Kept to the end of the work, also when whoever asked has gone away: the CPU is busy until then.
            let _slot = slot;
            work()
        });
        task.await.map_err(internal("hashing a password"))
    }
}

/// A place in the queue; given back when its holder gets his turn or goes away.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Self> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            return Err(Error::TooMany {
                retry_after: Duration::from_secs(1),
            });
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
