//! What was read last, for while a PostgreSQL server is away: whoever pulls what this node resolved a moment ago gets it
//! again. Everything else waits for the server, and what is not known is unavailable, never "not found".

use std::{
    hash::Hash,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use model::{Error, Result};
use quick_cache::{Equivalent, sync::Cache};

use crate::{Away, Db};

/// How long an answer is waited for when another one is known.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the server answers, and how often it was done without it.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    is_away: AtomicBool,
    answers: AtomicU64,
}

/// Answers of one kind, as they were read last.
pub struct LastKnown<K, V>(Cache<K, (Instant, V)>);

impl<K: Hash + Eq, V: Clone> LastKnown<K, V> {
    /// Keeps so many; each only as long as [`crate::Ways::stale`] says.
    pub fn new(most: usize) -> Self {
        Self(Cache::new(most))
    }

    /// What `read` answers; or, while the server is away and the handle is for whoever pulls, what it answered last under this
    /// key (`own` makes one to keep).
    pub async fn read<Q, F>(
        &self,
        db: &Db,
        key: &Q,
        own: impl FnOnce() -> K,
        read: impl FnOnce() -> F,
    ) -> Result<Option<V>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
        F: Future<Output = Result<Option<V>>>,
    {
        let Some(lasts) = db.stale_for() else {
            return read().await;
        };
        let may_serve = db.3 == Away::Serves;
        let known = self.0.get(key).filter(|_| may_serve);
        let known = known.filter(|(at, _)| at.elapsed() < lasts);
        let last = known.map(|(_, last)| last);
        if let Some(last) = &last
            && db.reach().is_away()
        {
            return Ok(Some(db.reach().answer(last.clone())));
        }
        // On the heap: what waits for a server need not make every caller's future larger.
        let patience = last.as_ref().map(|_| PATIENCE);
        let begun = Instant::now();
        let answer = within(patience, Box::pin(read())).await;
        match (answer, last) {
            (Ok(Some(value)), _) => {
                // Of two reads at once the one that began later knows better.
                let is_newest = self.0.get(key).is_none_or(|(at, _)| at <= begun);
                if is_newest {
                    self.0.insert(own(), (begun, value.clone()));
                }
                Ok(Some(value))
            }
            (Ok(None), _) => {
                self.0.remove(key);
                Ok(None)
            }
            // Whether it is away for everybody, a ping finds out.
            (Err(error @ Error::Unavailable(_)), last) => {
                let last = last.map(|last| db.reach().answer(last));
                last.map_or(Err(error), |last| Ok(Some(last)))
            }
            (Err(error), _) => Err(error),
        }
    }
}

/// What does not answer in time is away.
async fn within<V>(patience: Option<Duration>, read: impl Future<Output = Result<V>>) -> Result<V> {
    let Some(patience) = patience else {
        return read.await;
    };
    tokio::time::timeout(patience, read)
        .await
        .unwrap_or_else(|_| {
            Err(Error::Unavailable(anyhow::anyhow!(
                "no answer within {patience:?}"
            )))
        })
}

impl Reach {
    pub(crate) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// Tells of it once.
    pub(crate) fn set_away(&self, is_away: bool) {
        let was_away = self.is_away.swap(is_away, Ordering::Relaxed);
        if is_away && !was_away {
            tracing::error!(
                "the database does not answer: what was resolved lately is served on, nothing is written"
            );
        } else if was_away && !is_away {
            tracing::info!("the database answers again");
        }
    }

    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    fn answer<V>(&self, last: V) -> V {
        self.answers.fetch_add(1, Ordering::Relaxed);
        last
    }
}
