//! Pulls: content as a stream of pieces.
//!
//! `Mapped` hands out windows of the file's own pages for a plain socket's `writev`: no copy in user space. Those bytes
//! must reach the kernel unread (see `kernel`): not for TLS, HTTP/2 framing that copies, or compression. `Copied` reads
//! into memory and is good for anything. A stream that was asked to map copies where it has to.

use std::{
    fs::{File, Metadata},
    io::{self, IoSliceMut},
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use oci::digest::Digest;
use rustix::{fs::Advice, io::ReadWriteFlags};
use tokio::task::JoinHandle;

use super::{
    Store,
    buffers::BUFFER,
    store::Shared,
    windows::{self, FileId, Piece},
};
use crate::{Error, ReadMode, Result};

/// Content up to this size is read at once rather than mapped.
const SMALL: u64 = 64 << 10;
/// While this much is out in copies, each of them is smaller: few pulls get large pieces, a thousand at once get small
/// ones, so that what they hold together stays bounded.
const MUCH: usize = 32 << 20;

/// Open content. Cloning is cheap: one answer of several ranges is a stream each.
#[derive(Clone)]
pub struct Reader {
    pub len: u64,
    id: FileId,
    /// Whether the kernel tells us which of its pages are in memory.
    is_told: bool,
    file: Arc<File>,
    shared: Arc<Shared>,
}

impl Store {
    /// Opens content whose length the caller knows; `Damaged` when it is another.
    pub async fn open_blob(
        &self,
        digest: &Digest,
        location: &str,
        expected_len: u64,
    ) -> Result<Reader> {
        let (file, meta) = self.shared.open_content(digest, location).await?;
        if meta.len() != expected_len {
            let why = format!("`{digest}` has {} bytes, not {expected_len}", meta.len());
            return Err(Error::Damaged(why));
        }
        Ok(Reader {
            len: expected_len,
            id: FileId::of(&meta),
            is_told: is_told(rustix::process::geteuid().as_raw(), &meta),
            file: Arc::new(file),
            shared: Arc::clone(&self.shared),
        })
    }
}

impl Reader {
    /// The bytes of `range` (within `len`) in order. A file that turns out short, or a disk that does not give the
    /// bytes, ends the stream with an error.
    pub fn stream(
        self,
        range: Range<u64>,
        mode: ReadMode,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let end = range.end.min(self.len);
        let pull = Pull {
            reader: self,
            position: range.start.min(end),
            end,
            mode,
            ahead: None,
            is_cold: false,
        };
        stream::unfold(Some(pull), |pull| async {
            let mut pull = pull?;
            if pull.position >= pull.end {
                return None;
            }
            match pull.next().await {
                Ok(bytes) => {
                    pull.position += bytes.len() as u64;
                    Some((Ok(bytes), Some(pull)))
                }
                Err(e) => Some((Err(e), None)),
            }
        })
    }
}

struct Pull {
    reader: Reader,
    position: u64,
    end: u64,
    mode: ReadMode,
    /// The next piece, being read.
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
    /// The disk had to be waited for, so it is worth reading ahead.
    is_cold: bool,
}

impl Pull {
    async fn next(&mut self) -> io::Result<Bytes> {
        let left = self.end - self.position;
        if self.mode == ReadMode::Mapped
            && left > SMALL
            && let Some(window) = self.window().await?
        {
            return Ok(window);
        }
        self.copy(left).await
    }

    /// A populated window at the present position; `None` when mapping is not possible here.
    async fn window(&mut self) -> io::Result<Option<Bytes>> {
        let Reader {
            shared,
            file,
            id,
            len,
            is_told,
        } = &self.reader;
        if !shared.mapped.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let range = (self.position, self.end);
        // No address space left, or a file system without mappings: not the end of this pull.
        let Ok(piece) = shared.windows.piece(file, *id, *len, range) else {
            return Ok(None);
        };
        let is_resident = *is_told && piece.mapped.is_resident();
        if is_resident && piece.mapped.is_entered() {
            return Ok(Some(piece.bytes()));
        }
        if is_resident {
            return self.entered(piece.mapped.enter(), piece);
        }
        let (file, begin, end) = (Arc::clone(file), self.position, self.end);
        let fetch = move || {
            advise(&file, begin, end.min(begin + 2 * windows::SIZE));
            (piece.mapped.enter(), piece)
        };
        let fetching = shared.reads.turn().await.start(fetch);
        let (populated, piece) = fetching.await.map_err(io::Error::other)?;
        self.entered(populated, piece)
    }

    fn entered(&self, populated: io::Result<()>, piece: Piece) -> io::Result<Option<Bytes>> {
        let shared = &self.reader.shared;
        match populated {
            Ok(()) => Ok(Some(piece.bytes())),
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
                shared.mapped.store(false, Ordering::Relaxed);
                Ok(None)
            }
            Err(e) => {
                shared.windows.forget(self.reader.id);
                Err(e)
            }
        }
    }

    async fn copy(&mut self, left: u64) -> io::Result<Bytes> {
        let step = copied_len(self.reader.shared.buffers.out());
        let len = left.min(step);
        let bytes = if let Some(ahead) = self.ahead.take() {
            ahead.await.map_err(io::Error::other)??
        } else if let Some(bytes) = self.resident(len) {
            bytes
        } else {
            self.is_cold = true;
            let read = self.start(self.position, len).await;
            read.await.map_err(io::Error::other)??
        };
        let next = self.position + bytes.len() as u64;
        if self.is_cold && next < self.end {
            self.ahead = Some(self.start(next, (self.end - next).min(step)).await);
        }
        Ok(bytes)
    }

    /// What is in memory already, without waiting for the disk.
    fn resident(&self, len: u64) -> Option<Bytes> {
        if self.reader.shared.network.is_some() {
            return None;
        }
        let mut buffer = self.reader.shared.buffers.take(len as usize);
        let mut slices = [IoSliceMut::new(buffer.space())];
        let flags = ReadWriteFlags::NOWAIT;
        match rustix::io::preadv2(&*self.reader.file, &mut slices, self.position, flags) {
            Ok(0) | Err(_) => None,
            Ok(n) => {
                buffer.truncate(n);
                Some(Bytes::from_owner(buffer))
            }
        }
    }

    async fn start(&self, offset: u64, len: u64) -> JoinHandle<io::Result<Bytes>> {
        let file = Arc::clone(&self.reader.file);
        let buffers = Arc::clone(&self.reader.shared.buffers);
        let turn = self.reader.shared.reads.turn().await;
        turn.start(move || {
            let mut buffer = buffers.take(len as usize);
            file.read_exact_at(buffer.space(), offset)?;
            Ok(Bytes::from_owner(buffer))
        })
    }
}

/// Has the disk fetch a window and the one after it, which is then there when this one was sent. A hint.
fn advise(file: &File, begin: u64, end: u64) {
    let len = std::num::NonZero::new(end - begin);
    let _ = rustix::fs::fadvise(file, begin, len, Advice::WillNeed);
}

/// Of files that are neither ours nor ours to write (an adopted directory) the kernel says that all is in memory: those are
/// never touched on an async thread.
fn is_told(user: u32, meta: &Metadata) -> bool {
    user == 0 || meta.uid() == user || meta.mode() & 0o002 != 0
}

/// The size of the next copied piece while `out` bytes are held.
fn copied_len(out: usize) -> u64 {
    let len = if out < MUCH { BUFFER } else { BUFFER / 4 };
    len as u64
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn the_kernel_tells_of_files_that_we_own_or_may_write() {
        let file = tempfile::tempfile().unwrap();
        let owner = file.metadata().unwrap().uid();
        for (mode, user, told) in [
            (0o644, owner, true),
            (0o644, 0, true),
            (0o644, owner + 1, false),
            (0o646, owner + 1, true),
        ] {
            file.set_permissions(Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_told(user, &file.metadata().unwrap()), told, "{mode:o}");
        }
    }
}
