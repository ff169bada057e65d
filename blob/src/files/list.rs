//! Walking over all stored content, for checks and for rebuilding the list of blobs.
//!
//! The walk stands between two calls in open directory handles, so its memory is one batch, however large the store.
//! What is pushed or deleted meanwhile may show or not.

use std::{
    fs::{self, ReadDir},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use oci::digest::{Algorithm, Digest};

use super::{Store, store::Shared};
use crate::{Batch, Error, Found, Result, error::is_away, names::is_location};

const BATCH: usize = 1024;

/// Notes what the disk does not show; an error that is not about this file ends the walk.
fn refuse(batch: &mut Batch, shared: &Shared, path: &Path, error: io::Error) -> Result<()> {
    if is_away(&error) {
        return Err(Error::io("look at", path, error));
    }
    let shown = shared.layout.shown(path);
    batch.unreadable.push(format!("{shown}: {error}"));
    Ok(())
}

/// A walk under way.
pub struct Listing {
    shared: Arc<Shared>,
    /// Open directories, outermost first; `None` before the first batch.
    stack: Option<Vec<Dir>>,
}

struct Dir {
    path: PathBuf,
    entries: ReadDir,
}

impl Store {
    pub fn list(&self) -> Listing {
        Listing {
            shared: Arc::clone(&self.shared),
            stack: None,
        }
    }
}

impl Listing {
    /// The next batch, in no order; `None` at the end. After an error the walk begins again.
    pub async fn next(&mut self) -> Result<Option<Batch>> {
        let shared = Arc::clone(&self.shared);
        let stack = self.stack.take();
        let walk = move || {
            let mut stack = match stack {
                Some(stack) => stack,
                None => vec![open_dir(shared.layout.blobs())?],
            };
            let mut batch = Batch::default();
            while batch.len() < BATCH && step(&shared, &mut stack, &mut batch)? {}
            Ok((stack, batch))
        };
        let (stack, batch) = self.shared.reads.run(walk).await?;
        self.stack = Some(stack);
        Ok((batch.len() > 0).then_some(batch))
    }
}

/// Looks at one entry; false at the end of the walk.
fn step(shared: &Shared, stack: &mut Vec<Dir>, batch: &mut Batch) -> Result<bool> {
    // algorithm / two digits / hex / location
    let depth = stack.len();
    let Some(dir) = stack.last_mut() else {
        return Ok(false);
    };
    let path = match dir.entries.next() {
        Some(Ok(entry)) => entry.path(),
        // What a directory still holds after an error is not to be had.
        ended => {
            let dir = stack.pop().expect("it was the last");
            match ended {
                Some(Err(e)) if e.kind() != io::ErrorKind::NotFound => {
                    refuse(batch, shared, &dir.path, e)?;
                }
                _ => {}
            }
            return Ok(true);
        }
    };
    match look(&path, depth) {
        Ok(Entry::Dir(inner)) => stack.push(inner),
        Ok(Entry::Content(found)) => batch.found.push(found),
        Ok(Entry::Strange) if is_deleted(&path) => {}
        Ok(Entry::Strange) => batch.strange.push(shared.layout.shown(&path)),
        // It went meanwhile.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => refuse(batch, shared, &path, e)?,
    }
    Ok(true)
}

enum Entry {
    Dir(Dir),
    Content(Found),
    Strange,
}

fn look(path: &Path, depth: usize) -> io::Result<Entry> {
    let meta = fs::symlink_metadata(path)?;
    if depth < 4 && meta.is_dir() && is_ours(path, depth) {
        return Ok(Entry::Dir(Dir {
            entries: fs::read_dir(path)?,
            path: path.to_owned(),
        }));
    }
    let Some((digest, location)) = digest_at(path).filter(|_| depth == 4 && meta.is_file()) else {
        return Ok(Entry::Strange);
    };
    Ok(Entry::Content(Found {
        digest,
        location,
        size: meta.len(),
        modified: meta.modified()?,
    }))
}

fn open_dir(path: PathBuf) -> Result<Dir> {
    match fs::read_dir(&path) {
        Ok(entries) => Ok(Dir { path, entries }),
        Err(e) => Err(Error::io("read", &path, e)),
    }
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// Network file systems keep a deleted file that somebody reads under such a name until it is closed.
fn is_deleted(path: &Path) -> bool {
    name(path).is_some_and(|name| name.starts_with(".nfs") || name.starts_with(".fuse_hidden"))
}

/// Whether a directory of this name belongs at this depth.
fn is_ours(path: &Path, depth: usize) -> bool {
    let Some(name) = name(path) else {
        return false;
    };
    match depth {
        1 => name.parse::<Algorithm>().is_ok(),
        2 => name.len() == 2 && name.bytes().all(|b| b.is_ascii_hexdigit()),
        _ => digest_in(path).is_some(),
    }
}

/// The digest whose directory this is.
fn digest_in(dir: &Path) -> Option<Digest> {
    let prefix = dir.parent()?;
    let algorithm = name(prefix.parent()?)?;
    let hex = name(dir)?;
    if !hex.starts_with(name(prefix)?) {
        return None;
    }
    Digest::from_hex(algorithm.parse().ok()?, hex).ok()
}

fn digest_at(path: &Path) -> Option<(Digest, String)> {
    let location = name(path).filter(|name| is_location(name))?;
    Some((digest_in(path.parent()?)?, location.to_owned()))
}
