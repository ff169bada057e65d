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
        let slot = if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            slot
        } else {
            let _place = Place::take(&self.waiting)?;
            self.slots
                .clone()
                .acquire_owned()
                .await
                .map_err(internal("waiting for a turn to hash"))?
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

#[cfg(test)]
mod tests {
    use std::sync::{atomic::AtomicUsize, mpsc};

    use futures_util::{FutureExt, future::join_all};

    use super::*;

    /// Work that goes on until the sender is dropped, and counts how many do so at once.
    fn busy(
        now: &Arc<AtomicUsize>,
        most: &Arc<AtomicUsize>,
        go_on: mpsc::Receiver<()>,
    ) -> impl FnOnce() + Send + use<> {
        let (now, most) = (now.clone(), most.clone());
        move || {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _ = go_on.recv();
            now.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn so_many_run_so_many_wait_and_further_ones_are_asked_to_come_back() {
        let hashing = Hashing::new(2);
        let (now, most) = (Arc::default(), Arc::default());
        let (ends, works): (Vec<_>, Vec<_>) = (0..2 + MOST_WAITING)
            .map(|_| {
                let (end, go_on) = mpsc::channel();
                (end, busy(&now, &most, go_on))
            })
            .unzip();
        let mut all = Box::pin(join_all(works.into_iter().map(|work| hashing.run(work))));
        assert!(
            all.as_mut().now_or_never().is_none(),
            "two run, the others wait"
        );

        let refused = hashing.run(|| ()).await.unwrap_err();
        assert!(
            matches!(refused, Error::TooMany { retry_after } if retry_after == Duration::from_secs(1)),
            "{refused}"
        );

        drop(ends);
        assert!(all.await.iter().all(Result::is_ok));
        assert!(most.load(Ordering::SeqCst) <= 2);
        hashing.run(|| ()).await.unwrap();
    }

    #[tokio::test]
    async fn whoever_goes_away_gives_his_place_back_and_his_work_keeps_its_slot() {
        let hashing = Hashing::new(1);
        let (now, most) = (Arc::default(), Arc::default());
        let (end, go_on) = mpsc::channel();
        let mut first = Box::pin(hashing.run(busy(&now, &most, go_on)));
        assert!(first.as_mut().now_or_never().is_none());
        let mut waiting = Box::pin(join_all((0..MOST_WAITING).map(|_| hashing.run(|| ()))));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop((first, waiting));

        let mut next = Box::pin(hashing.run(|| ()));
        assert!(
            next.as_mut().now_or_never().is_none(),
            "the abandoned work still runs"
        );
        drop(end);
        next.await.unwrap();
    }
}
