//! Opening stored content.

use std::{
    fs::{self, File, Metadata},
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use oci::digest::Digest;
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};

use super::store::Shared;
use crate::{Error, Result};

impl Shared {
    /// Opens content: at once when the kernel has its path in memory, else on a blocking thread.
    pub(crate) async fn open_content(
        self: &Arc<Self>,
        digest: &Digest,
        location: &str,
    ) -> Result<(File, Metadata)> {
        let path = self.layout.blob(digest, location)?;
        if let Some(opened) = self.open_cached(&path) {
            return opened;
        }
        let shared = Arc::clone(self);
        let open = move || shared.open_found(&path);
        self.reads.run(open).await
    }

    /// `None` when the disk would have to be asked, or something is wrong that is better looked at from there.
    fn open_cached(&self, path: &Path) -> Option<Result<(File, Metadata)>> {
        if !self.opens_cached.load(Ordering::Relaxed) {
            return None;
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED) {
            Ok(file) => {
                let file = File::from(file);
                let looked = file.metadata();
                Some(match looked {
                    Ok(meta) => Ok((file, meta)),
                    Err(e) => Err(Error::content("look at", path, e)),
                })
            }
            Err(Errno::NOENT) => Some(Err(Error::NotFound)),
            // A kernel before 5.12, or a container that does not know the call.
            Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
                self.opens_cached.store(false, Ordering::Relaxed);
                None
            }
            Err(_) => None,
        }
    }

    /// Opens content, for blocking threads. On a network file system "not there" may be what was true a minute ago,
    /// before another node put it there: opening its directories makes the client ask the server anew.
    pub(crate) fn open_found(&self, path: &Path) -> Result<(File, Metadata)> {
        let opened = match File::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.network.is_some() => {
                for dir in [path.ancestors().nth(2), path.parent()]
                    .into_iter()
                    .flatten()
                {
                    if let Ok(mut entries) = fs::read_dir(dir) {
                        let _ = entries.next();
                    }
                }
                File::open(path)
            }
            opened => opened,
        };
        let file = opened.map_err(|e| Error::content("open", path, e))?;
        match file.metadata() {
            Ok(meta) => Ok((file, meta)),
            Err(e) => Err(Error::content("look at", path, e)),
        }
    }
}
