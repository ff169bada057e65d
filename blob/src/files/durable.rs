//! Putting content under its name so that the name survives a power cut.
//!
//! A rename is durable once every directory that got a name was flushed, up to one known durable. Directories of the
//! first two hex digits are never removed, so each is looked after once in a process; a digest's own directory comes
//! and goes, so both it and its parent are flushed each time.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use oci::digest::{Algorithm, Digest};
use rustix::io::Errno;

use super::layout::Layout;
use crate::{Error, Result};

/// A collector may remove a digest's empty directory between our `mkdir` and our rename; that often is out of the question,
/// also on a busy machine where both wait for the same directory's lock.
const TRIES: usize = 100;

/// Which directories of two hex digits are known to be durable themselves.
#[derive(Default)]
pub(crate) struct Known {
    bits: [[AtomicU64; 4]; 2],
}

impl Known {
    fn slot(&self, digest: &Digest) -> (&AtomicU64, u64) {
        let n = usize::from(digest.bytes()[0]);
        let algorithm = match digest.algorithm() {
            Algorithm::Sha256 => 0,
            Algorithm::Sha512 => 1,
        };
        (&self.bits[algorithm][n / 64], 1 << (n % 64))
    }

    fn contains(&self, digest: &Digest) -> bool {
        let (word, bit) = self.slot(digest);
        word.load(Ordering::Acquire) & bit != 0
    }

    fn insert(&self, digest: &Digest) {
        let (word, bit) = self.slot(digest);
        word.fetch_or(bit, Ordering::Release);
    }

    /// The digest's outer directory was missing. When it was known, somebody worked on the tree by hand, so nothing is
    /// known any more.
    fn doubt(&self, digest: &Digest) {
        if self.contains(digest) {
            for word in self.bits.iter().flatten() {
                word.store(0, Ordering::Release);
            }
        }
    }
}

/// Renames `from` over the place of `digest` at `location`, replacing what is there. Not durable before
/// [`sync_names`]. `NotFound` means that `from` is gone.
pub(crate) fn place(
    layout: &Layout,
    known: &Known,
    from: &Path,
    digest: &Digest,
    location: &str,
) -> Result<()> {
    let target = layout.blob(digest, location)?;
    let dir = layout.dir(digest);
    for _ in 0..TRIES {
        make_dir(layout, known, digest, &dir)?;
        match fs::rename(from, &target) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::symlink_metadata(from).map_err(|e| Error::found("look at", from, e))?;
            }
            done => return done.map_err(|e| Error::io("rename to", &target, e)),
        }
    }
    let gone = io::Error::other("its directory is removed again and again");
    Err(Error::io("rename to", &target, gone))
}

/// Makes the directory of a digest and those around it, but never the blob tree's own root: when that is missing the
/// store is not mounted, and nothing may be put into the empty directory beneath.
fn make_dir(layout: &Layout, known: &Known, digest: &Digest, dir: &Path) -> Result<()> {
    match fs::create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        done => return made(dir, done),
    }
    known.doubt(digest);
    let outer = dir.parent().expect("a digest's directory lies in another");
    let algorithm = layout.algorithm(digest.algorithm());
    for dir in [algorithm.as_path(), outer, dir] {
        made(dir, fs::create_dir(dir))?;
    }
    Ok(())
}

fn made(dir: &Path, done: io::Result<()>) -> Result<()> {
    match done {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::io("make directory", dir, e))
        }
        _ => Ok(()),
    }
}

/// Makes the names durable under which `digest` is found. `Withdrawn` when a delete was faster.
pub(crate) fn sync_names(layout: &Layout, known: &Known, digest: &Digest) -> Result<()> {
    let dir = layout.dir(digest);
    sync_dir(&dir).map_err(Error::gone)?;
    sync_dir(dir.parent().expect("a digest's directory lies in another"))?;
    if !known.contains(digest) {
        sync_dir(&layout.algorithm(digest.algorithm()))?;
        sync_dir(&layout.blobs())?;
        known.insert(digest);
    }
    Ok(())
}

/// Flushes a directory's names. Some network file systems know no such call: there a name is durable when the server
/// has answered.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    let opened = File::open(dir).map_err(|e| Error::io("open", dir, e))?;
    match rustix::fs::fsync(&opened) {
        Ok(()) | Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(()),
        Err(e) => Err(Error::io("flush directory", dir, e.into())),
    }
}
