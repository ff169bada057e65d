//! Hashing what is stored: in steps that each take a short turn, so that it can be slowed down and stopped.

use std::{
    fmt,
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::FileExt},
    sync::Arc,
    time::{Duration, Instant},
};

use oci::digest::Digest;
use rustix::fs::Advice;
use tokio_util::sync::CancellationToken;

use crate::files::{Error, Result, Store, error::is_away, hash::Hasher, lane::Lane};

const STEP: u64 = 4 << 20;
const BUFFER: usize = 256 << 10;

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

impl Store {
    /// Reads stored content and compares its digest, at most `rate` bytes a second. Bytes that were not in memory
    /// do not stay there, so that a scrub does not push out what is pulled.
    pub async fn verify(
        &self,
        digest: &Digest,
        location: &str,
        rate: Option<u64>,
        cancel: &CancellationToken,
    ) -> Result<Verdict> {
        let (file, meta) = match self.shared.open_content(digest, location).await {
            Err(Error::NotFound) => return Ok(Verdict::Missing),
            Err(Error::Damaged(why)) => return Ok(Verdict::Damaged(Damage::Unreadable(why))),
            opened => opened?,
        };
        let size = meta.len();
        let file = Arc::new(file);
        let mut hasher = Hasher::new(digest.algorithm());
        let start = Instant::now();
        while hasher.offset() < size {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let end = size.min(hasher.offset() + STEP);
            hasher = match step(&self.shared.reads, &file, hasher, end, Pages::AsBefore).await? {
                Ok(hasher) => hasher,
                Err(e) if is_away(&e) => return Err(unreadable(e)),
                Err(e) => return Ok(Verdict::Damaged(Damage::Unreadable(e.to_string()))),
            };
            let pause = pause(rate, hasher.offset(), start.elapsed());
            if !pause.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = cancel.cancelled() => return Err(Error::Cancelled),
                }
            }
        }
        let actual = hasher.digest();
        if actual == *digest {
            return Ok(Verdict::Good { size });
        }
        Ok(Verdict::Damaged(Damage::Digest { size, actual }))
    }
}

/// How long to wait so that `done` bytes took as long as they should.
pub(crate) fn pause(rate: Option<u64>, done: u64, elapsed: Duration) -> Duration {
    let Some(rate) = rate.filter(|rate| *rate > 0) else {
        return Duration::ZERO;
    };
    Duration::from_secs_f64(done as f64 / rate as f64).saturating_sub(elapsed)
}

/// What becomes of the pages that were read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pages {
    Kept,
    /// Those that were not in memory do not stay there.
    AsBefore,
}

/// A step of hashing on a blocking thread. The inner error is the disk's.
async fn step(
    lane: &Lane,
    file: &Arc<File>,
    mut hasher: Hasher,
    end: u64,
    pages: Pages,
) -> Result<io::Result<Hasher>> {
    let file = Arc::clone(file);
    let read = move || {
        let begin = hasher.offset();
        let is_passing = pages == Pages::AsBefore && !is_resident(&file, begin);
        let hashed = hash_file(&file, &mut hasher, end);
        if is_passing {
            // A hint; nothing is lost when the kernel keeps the pages.
            let len = std::num::NonZero::new(end - begin);
            let _ = rustix::fs::fadvise(&*file, begin, len, Advice::DontNeed);
        }
        Ok(hashed.map(|()| hasher))
    };
    lane.run(read).await
}

/// By its first byte, without waiting for the disk.
fn is_resident(file: &File, offset: u64) -> bool {
    let mut byte = [0];
    let mut bufs = [io::IoSliceMut::new(&mut byte)];
    let flags = rustix::io::ReadWriteFlags::NOWAIT;
    rustix::io::preadv2(file.as_fd(), &mut bufs, offset, flags).is_ok()
}

/// Takes the hash from where it stands up to byte `end` of the file.
pub(crate) fn hash_file(file: &File, hasher: &mut Hasher, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER.min((end - hasher.offset()) as usize)];
    while hasher.offset() < end {
        let want = buffer.len().min((end - hasher.offset()) as usize);
        match file.read_at(&mut buffer[..want], hasher.offset()) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => hasher.update(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// As [`hash_file`], for files of any length: a caller who goes away ends it with the present step.
pub(crate) async fn hash_on(
    lane: &Lane,
    file: &Arc<File>,
    mut hasher: Hasher,
    end: u64,
) -> Result<Hasher> {
    while hasher.offset() < end {
        let until = end.min(hasher.offset() + STEP);
        let hashed = step(lane, file, hasher, until, Pages::Kept).await?;
        hasher = hashed.map_err(unreadable)?;
    }
    Ok(hasher)
}

fn unreadable(source: io::Error) -> Error {
    Error::Io {
        what: "read back",
        path: "bytes in the store".to_owned(),
        source,
    }
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
