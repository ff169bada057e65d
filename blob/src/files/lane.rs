//! Where file-system calls run: a bounded number at a time on blocking threads.
//!
//! Every call goes through a lane, since any of them may wait for a disk or hang with a mount. What a local file system
//! answers from memory alone is asked on the calling thread where the kernel can say so (`open`): several times cheaper.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, spawn_blocking},
};

use crate::{Result, error::stopped};

pub(crate) struct Lane {
    permits: Arc<Semaphore>,
}

impl Lane {
    pub(crate) fn new(width: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(width)),
        }
    }

    /// Runs what may wait for the disk. When the caller goes away the work goes on to its end by itself.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.turn().await.start(work).await.map_err(stopped)?
    }

    /// Waits for a free place, for work that is collected later.
    pub(crate) async fn turn(&self) -> Turn {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        Turn(permit.expect("a lane is never closed"))
    }
}

/// A place in a lane.
pub(crate) struct Turn(OwnedSemaphorePermit);

impl Turn {
    pub(crate) fn start<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let permit = self.0;
        spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        })
    }
}
