//! How much room is left, cheap enough to ask on every request: measured at most once a second.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::Store;
use crate::{Error, Result};

const FRESH: Duration = Duration::from_secs(1);
const MAX_RESERVE: u64 = 1 << 30;

/// Bytes of the file system that holds the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    /// What this process may still use.
    pub free: u64,
    /// What uploads leave alone.
    pub reserve: u64,
}

impl Space {
    pub fn has_room(&self, bytes: u64) -> bool {
        self.free >= self.reserve.saturating_add(bytes)
    }
}

pub(crate) struct Gauge {
    root: PathBuf,
    reserve: Option<u64>,
    /// A hung mount hangs `statvfs` too: there it is asked in the background, and the last answer stands.
    background: bool,
    last: Mutex<Space>,
    /// Bytes that uploads brought since then: within a second a fast network fills a small disk.
    accepted: AtomicU64,
    start: Instant,
    /// Milliseconds after `start`; 0 asks for a new measurement.
    measured: AtomicU64,
    measuring: AtomicBool,
}

impl Gauge {
    pub(crate) fn new(root: PathBuf, reserve: Option<u64>, background: bool) -> Result<Arc<Self>> {
        let space = measure(&root, reserve)?;
        Ok(Arc::new(Self {
            root,
            reserve,
            background,
            last: Mutex::new(space),
            accepted: AtomicU64::new(0),
            start: Instant::now(),
            measured: AtomicU64::new(1),
            measuring: AtomicBool::new(false),
        }))
    }

    /// Room was made or used up in a way worth knowing at once.
    pub(crate) fn changed(&self) {
        self.measured.store(0, Ordering::Relaxed);
    }

    /// An upload took in this much, which counts as used from now on.
    pub(crate) fn accept(&self, bytes: u64) {
        self.accepted.fetch_add(bytes, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64 + 1
    }

    fn is_fresh(&self) -> bool {
        let measured = self.measured.load(Ordering::Relaxed);
        measured != 0 && self.now() - measured < FRESH.as_millis() as u64
    }

    fn refresh(&self) -> Result<()> {
        let now = self.now();
        let accepted = self.accepted.load(Ordering::Relaxed);
        let space = measure(&self.root, self.reserve)?;
        *self.last.lock() = space;
        self.accepted.fetch_sub(accepted, Ordering::Relaxed);
        self.measured.store(now, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn read(self: &Arc<Self>) -> Result<Space> {
        if !self.is_fresh() && !self.measuring.swap(true, Ordering::Acquire) {
            let gauge = Arc::clone(self);
            let run = move || {
                let done = gauge.refresh();
                gauge.measuring.store(false, Ordering::Release);
                done
            };
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) if self.background => drop(runtime.spawn_blocking(run)),
                _ => run()?,
            }
        }
        let mut space = *self.last.lock();
        let accepted = self.accepted.load(Ordering::Relaxed);
        space.free = space.free.saturating_sub(accepted);
        Ok(space)
    }
}

fn measure(root: &std::path::Path, reserve: Option<u64>) -> Result<Space> {
    let stat =
        rustix::fs::statvfs(root).map_err(|e| Error::io("ask for space of", root, e.into()))?;
    let total = stat.f_blocks * stat.f_frsize;
    Ok(Space {
        total,
        free: stat.f_bavail * stat.f_frsize,
        reserve: reserve.unwrap_or_else(|| (total / 20).min(MAX_RESERVE)),
    })
}

impl Store {
    /// Not older than a second on a local file system; on a network one the last answer that came.
    pub fn space(&self) -> Result<Space> {
        self.shared.gauge.read()
    }

    /// Whether `bytes` more fit without touching the reserve. When it cannot be told, it is for the write to find out.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.space().map_or(true, |space| space.has_room(bytes))
    }
}
