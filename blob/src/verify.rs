//! What a check of stored content finds, and how fast it goes.

use std::{
    fmt,
    time::{Duration, Instant},
};

use oci::digest::Digest;
use tokio_util::sync::CancellationToken;

use crate::{Error, Result};

/// What a look at stored content found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good { size: u64 },
    Missing,
    Damaged(Damage),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The bytes have another digest.
    Digest { size: u64, actual: Digest },
    /// The disk does not give the bytes back.
    Unreadable(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good { size } => write!(f, "{size} bytes as they should be"),
            Self::Missing => f.write_str("its bytes are missing"),
            Self::Damaged(damage) => damage.fmt(f),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest { size, actual } => {
                write!(f, "its {size} bytes have the digest `{actual}`")
            }
            Self::Unreadable(why) => write!(f, "it cannot be read: {why}"),
        }
    }
}

impl Verdict {
    /// Of `size` bytes that read as `actual`.
    pub(crate) fn of(digest: &Digest, size: u64, actual: Digest) -> Self {
        if actual == *digest {
            return Self::Good { size };
        }
        Self::Damaged(Damage::Digest { size, actual })
    }
}

/// How fast somebody reads who is in nobody's way, until he is told to stop.
pub(crate) struct Pace<'a> {
    /// Bytes a second; as fast as it goes without one.
    rate: Option<u64>,
    cancel: &'a CancellationToken,
    start: Instant,
}

impl<'a> Pace<'a> {
    pub(crate) fn new(rate: Option<u64>, cancel: &'a CancellationToken) -> Self {
        Self {
            rate,
            cancel,
            start: Instant::now(),
        }
    }

    /// Waits until `done` bytes took as long as they should.
    pub(crate) async fn wait(&self, done: u64) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let pause = pause(self.rate, done, self.start.elapsed());
        if pause.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.cancel.cancelled() => Err(Error::Cancelled),
        }
    }
}

/// How long to wait so that `done` bytes took as long as they should.
fn pause(rate: Option<u64>, done: u64, elapsed: Duration) -> Duration {
    let Some(rate) = rate.filter(|rate| *rate > 0) else {
        return Duration::ZERO;
    };
    Duration::from_secs_f64(done as f64 / rate as f64).saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_makes_it_wait_for_what_is_ahead_of_time() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(None, 1 << 30, second), Duration::ZERO);
        assert_eq!(pause(Some(0), 1 << 30, second), Duration::ZERO);
        assert_eq!(pause(Some(100), 300, second), 2 * second);
        assert_eq!(pause(Some(100), 50, second), Duration::ZERO);
    }
}
