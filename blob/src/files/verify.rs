//! Hashing what is stored: in steps that each take a short turn, so that it can be slowed down and stopped.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::FileExt},
    sync::Arc,
};

use oci::digest::Digest;
use rustix::fs::Advice;
use tokio_util::sync::CancellationToken;

use super::{Store, lane::Lane};
use crate::{Damage, Error, Result, Verdict, error::is_away, hash::Hasher, verify::Pace};

const STEP: u64 = 4 << 20;
const BUFFER: usize = 256 << 10;

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
        let pace = Pace::new(rate, cancel);
        while hasher.offset() < size {
            let end = size.min(hasher.offset() + STEP);
            hasher = match step(&self.shared.reads, &file, hasher, end, Pages::AsBefore).await? {
                Ok(hasher) => hasher,
                Err(e) if is_away(&e) => return Err(unreadable(e)),
                Err(e) => return Ok(Verdict::Damaged(Damage::Unreadable(e.to_string()))),
            };
            pace.wait(hasher.offset()).await?;
        }
        Ok(Verdict::of(digest, size, hasher.digest()))
    }
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
