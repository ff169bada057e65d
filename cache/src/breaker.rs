//! When a connection is given up: at once when it is gone, and when more than about one call in five goes wrong. Calls that come
//! after that do not wait; the one that keeps the connection looks for another (keep.rs).

use std::sync::atomic::{AtomicI32, Ordering};

use parking_lot::Mutex;
use redis::{ErrorKind, RedisError, ServerErrorKind};
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;

use crate::connect::Line;

/// What a call that goes wrong counts, against one for a call that goes well; and how much is too much: three in a row.
const WRONG: i32 = 4;
const TOO_MUCH: i32 = 12;

/// A connection and how it does.
pub(crate) struct Open {
    pub(crate) line: Line,
    debt: AtomicI32,
    broken: CancellationToken,
    why: Mutex<String>,
}

/// How a call went.
pub(crate) enum Went<T> {
    Well(T),
    /// The answer is no; in Redis' words.
    Refused(String),
    Late,
}

impl Open {
    pub(crate) fn new(line: Line) -> Self {
        Self {
            line,
            debt: AtomicI32::new(0),
            broken: CancellationToken::new(),
            why: Mutex::default(),
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_cancelled()
    }

    /// Waits for the end of this connection, and says what it was.
    pub(crate) async fn broken(&self) -> String {
        self.broken.cancelled().await;
        self.why.lock().clone()
    }

    pub(crate) fn judge<T>(&self, answer: Result<Result<T, RedisError>, Elapsed>) -> Went<T> {
        match answer {
            Ok(Ok(value)) => {
                let paid = |debt: i32| Some((debt - 1).max(0));
                let _ = self
                    .debt
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, paid);
                Went::Well(value)
            }
            Ok(Err(error)) if error.is_timeout() => {
                self.count("it answers too slowly");
                Went::Late
            }
            Ok(Err(error)) => {
                let why = error.to_string();
                match self.meaning(&error) {
                    Meaning::Gone => self.give_up(&why),
                    Meaning::Fault => self.count(&why),
                    Meaning::Answer => {}
                }
                Went::Refused(why)
            }
            Err(Elapsed { .. }) => {
                self.count("it answers too slowly");
                Went::Late
            }
        }
    }

    fn meaning(&self, error: &RedisError) -> Meaning {
        use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly};
        match error.kind() {
            // A Cluster mends its connections itself, and one node's death is not all of them.
            _ if self.line.is_cluster() && error.is_unrecoverable_error() => Meaning::Fault,
            ErrorKind::Server(ClusterDown) => Meaning::Fault,
            // What was the master is one no more, or has nothing yet.
            ErrorKind::Server(ReadOnly | BusyLoading | MasterDown) => Meaning::Gone,
            ErrorKind::Server(_) | ErrorKind::Extension => Meaning::Answer,
            _ if error.is_unrecoverable_error() => Meaning::Gone,
            _ => Meaning::Fault,
        }
    }

    fn count(&self, why: &str) {
        if self.debt.fetch_add(WRONG, Ordering::Relaxed) + WRONG >= TOO_MUCH {
            self.give_up(why);
        }
    }

    pub(crate) fn give_up(&self, why: &str) {
        let mut known = self.why.lock();
        if !self.broken.is_cancelled() {
            why.clone_into(&mut known);
            self.broken.cancel();
        }
    }
}

enum Meaning {
    /// This connection is of no more use.
    Gone,
    /// It counts against it.
    Fault,
    /// It works, and says no: no room, no right, a value of another type.
    Answer,
}
