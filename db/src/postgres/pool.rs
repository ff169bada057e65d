//! The writers' connections: so many at once and no more. One comes back only when its transaction has ended; whatever
//! happened otherwise (an error in between, a panic, a frozen server), it is closed and the server rolls back.

use std::{sync::Arc, time::Duration};

use futures_util::future;
use model::{Error, Result, time::Timestamp};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{address::Address, line::Line};
use crate::counters::{FLUSH, Flush};

pub(super) struct Pool {
    address: Arc<Address>,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Arc<Line>>>,
    patience: Duration,
}

/// A connection that belongs to one writer until this is dropped.
pub(crate) struct Own {
    line: Arc<Line>,
    pool: Arc<Pool>,
    was_idle: bool,
    /// A transaction was begun and has not ended.
    open: bool,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(address: Arc<Address>, size: usize, patience: Duration) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(size.max(1)));
        Arc::new(Self {
            address,
            permits,
            idle: Mutex::default(),
            patience,
        })
    }

    pub(super) async fn take(self: &Arc<Self>) -> Result<Own> {
        let permit = tokio::time::timeout(self.patience, self.permits.clone().acquire_owned())
            .await
            .map_err(|_| {
                Error::Unavailable(anyhow::anyhow!(
                    "all connections to PostgreSQL were busy for {:?}",
                    self.patience
                ))
            })?
            .map_err(|_| Error::Unavailable(anyhow::anyhow!("the database is closed")))?;
        let idle = {
            let mut idle = self.idle.lock();
            idle.retain(|line| line.is_usable());
            idle.pop()
        };
        let (line, was_idle) = match idle {
            Some(line) => (line, true),
            None => (Arc::new(self.address.connect().await?), false),
        };
        Ok(Own {
            line,
            pool: self.clone(),
            was_idle,
            open: false,
            _permit: permit,
        })
    }

    /// Lets go of idle connections; the others are closed when they come back.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().clear();
    }
}

impl Own {
    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    /// Whether it may have died while nobody looked.
    pub(super) fn was_idle(&self) -> bool {
        self.was_idle
    }

    /// It does not go back to the pool: transactions on it are the caller's own affair.
    pub(crate) fn keep_apart(&mut self) {
        self.open = true;
    }

    pub(super) async fn begin(&mut self, sql: &str) -> Result<Timestamp> {
        self.open = true;
        self.line.begin(sql).await
    }

    /// Commits, and sends the last statement on the same way. When that fails the server rolls back, and says nothing else.
    pub(super) async fn commit_with(&mut self, last: &Flush) -> Result<()> {
        let values = [
            (&last.links).into(),
            (&last.sums).into(),
            self.line.slot.into(),
        ];
        let line = self.line.clone();
        let (written, ended) = future::join(line.execute(FLUSH, &values), line.end("COMMIT")).await;
        ended?;
        self.open = false;
        written.map(|_| ())
    }

    pub(super) async fn end(&mut self, sql: &'static str) -> Result<()> {
        self.line.end(sql).await?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if self.open {
            self.line.give_up();
        } else if self.line.is_usable() && !self.pool.permits.is_closed() {
            self.pool.idle.lock().push(self.line.clone());
        }
    }
}
