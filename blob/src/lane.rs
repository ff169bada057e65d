//! Where file-system calls run: a bounded number at a time on blocking threads.
//!
//! On a network file system every call goes through a lane, since any of them may hang with the mount; on a local one
//! [`Lane::quick`] stays on the calling thread, which is several times cheaper than a hop to another.

use std::{io, sync::Arc};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinHandle, spawn_blocking},
};

use crate::{Error, Result};

pub(crate) struct Lane {
    permits: Arc<Semaphore>,
    inline: bool,
}

impl Lane {
    pub(crate) fn new(width: usize, inline: bool) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(width)),
            inline,
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

    /// Runs a call that a local file system answers from memory.
    pub(crate) async fn quick<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.inline {
            return work();
        }
        self.run(work).await
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

/// A blocking task ends without its answer only when it panicked or the runtime is going down.
pub(crate) fn stopped(error: JoinError) -> Error {
    Error::Io {
        what: "wait for",
        path: "blocking task".to_owned(),
        source: io::Error::other(error),
    }
}
