//! Mapped windows, shared by all pulls of the same bytes.
//!
//! Mapping and unmapping cost as much as half the sending, and more with many threads (each unmap stops them all for
//! a moment); a thousand pulls of one image need its windows once. Windows of content that is deleted here are let
//! go at once; the rest when no pull used them for a while ([`Windows::rest`]), among them those of files that a push
//! has replaced, whose room comes back only then.

use std::{
    collections::HashMap,
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::kernel::Window;

/// A shared window begins at a multiple of this.
pub(crate) const SIZE: u64 = 4 << 20;
/// How many windows are kept for the next pull.
const MAX_KEPT: usize = 64;
/// With more than this mapped, by many pulls of different content, windows are small and not shared: the pages are
/// the kernel's cache, yet they count as ours in `ps`.
const MANY: usize = 512 << 20;
const SMALL: u64 = 256 << 10;
/// Milliseconds for which a window that was in memory is taken to be there still: asking costs as much as sending a part
/// of it, and to be wrong is to wait for one page of the disk.
const FRESH: u64 = 1000;

#[derive(Default)]
pub(crate) struct Windows {
    kept: Mutex<Kept>,
    mapped: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Kept {
    windows: HashMap<Key, Entry>,
    clock: u64,
    /// The clock at the last call of [`Windows::rest`].
    rested: u64,
}

/// A published file, by device and inode. A mapping keeps the inode from being used again; the device counts too,
/// since an overlay shows files of several.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileId(u64, u64);

impl FileId {
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self(meta.dev(), meta.ino())
    }
}

/// A file and the number of the window in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    id: FileId,
    number: u64,
}

struct Entry {
    window: Arc<Mapped>,
    used: u64,
}

/// A window and its share in the bytes that are mapped.
pub(crate) struct Mapped {
    window: Window,
    entered: AtomicBool,
    /// When all of it was in memory last, in milliseconds after `start`; 0 is never.
    resident: AtomicU64,
    start: Instant,
    len: usize,
    total: Arc<AtomicUsize>,
}

impl Mapped {
    /// Whether all of it is in memory. Asked again after a while: the kernel may have taken pages back.
    pub(crate) fn is_resident(&self) -> bool {
        let now = self.start.elapsed().as_millis() as u64 + 1;
        let last = self.resident.load(Ordering::Relaxed);
        if last != 0 && now - last < FRESH {
            return true;
        }
        let is_resident = self.window.is_resident();
        let seen = if is_resident { now } else { 0 };
        self.resident.store(seen, Ordering::Relaxed);
        is_resident
    }

    /// Whether it was populated once; what is resident since is entered again in passing.
    pub(crate) fn is_entered(&self) -> bool {
        self.entered.load(Ordering::Relaxed)
    }

    /// See [`Window::populate`].
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.window.populate()?;
        self.entered.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.total.fetch_sub(self.len, Ordering::Relaxed);
    }
}

/// Bytes of a window that go to the kernel.
pub(crate) struct Piece {
    pub(crate) mapped: Arc<Mapped>,
    skip: usize,
    len: usize,
}

impl Piece {
    pub(crate) fn bytes(self) -> Bytes {
        let end = self.skip + self.len;
        Bytes::from_owner(Shown(self.mapped)).slice(self.skip..end)
    }
}

struct Shown(Arc<Mapped>);

impl AsRef<[u8]> for Shown {
    fn as_ref(&self) -> &[u8] {
        self.0.window.as_ref()
    }
}

impl Windows {
    /// The next bytes of `begin..end` in a file of `len` bytes, not yet populated. A small part of a window gets one of
    /// its own, so that a range does not read megabytes from the disk.
    pub(crate) fn piece(
        &self,
        file: &File,
        id: FileId,
        len: u64,
        (begin, end): (u64, u64),
    ) -> io::Result<Piece> {
        let number = begin / SIZE;
        let (from, to) = (number * SIZE, len.min((number + 1) * SIZE));
        let wanted = end.min(to) - begin;
        let is_many = self.mapped.load(Ordering::Relaxed) > MANY;
        if wanted < (to - from) / 2 || is_many {
            let wanted = if is_many { wanted.min(SMALL) } else { wanted };
            return Ok(Piece {
                mapped: Arc::new(self.map(file, begin, wanted)?),
                skip: 0,
                len: wanted as usize,
            });
        }
        let key = Key { id, number };
        let mapped = match self.find(key) {
            Some(mapped) => mapped,
            None => self.keep(key, self.map(file, from, to - from)?),
        };
        Ok(Piece {
            mapped,
            skip: (begin - from) as usize,
            len: wanted as usize,
        })
    }

    fn map(&self, file: &File, from: u64, len: u64) -> io::Result<Mapped> {
        let len = len as usize;
        let window = Window::open(file, from, len)?;
        self.mapped.fetch_add(len, Ordering::Relaxed);
        Ok(Mapped {
            window,
            entered: AtomicBool::new(false),
            resident: AtomicU64::new(0),
            start: Instant::now(),
            len,
            total: Arc::clone(&self.mapped),
        })
    }

    fn find(&self, key: Key) -> Option<Arc<Mapped>> {
        let mut kept = self.kept.lock();
        kept.clock += 1;
        let now = kept.clock;
        let entry = kept.windows.get_mut(&key)?;
        entry.used = now;
        Some(Arc::clone(&entry.window))
    }

    /// Keeps a window, or takes the one that somebody else was quicker to keep.
    fn keep(&self, key: Key, mapped: Mapped) -> Arc<Mapped> {
        let mapped = Arc::new(mapped);
        let mut kept = self.kept.lock();
        kept.clock += 1;
        let now = kept.clock;
        let entry = kept.windows.entry(key).or_insert_with(|| Entry {
            window: Arc::clone(&mapped),
            used: now,
        });
        let shared = Arc::clone(&entry.window);
        let mut oldest = None;
        if kept.windows.len() > MAX_KEPT {
            let by_use = kept.windows.iter().min_by_key(|(_, entry)| entry.used);
            let key = by_use.map(|(key, _)| *key);
            oldest = key.and_then(|key| kept.windows.remove(&key));
        }
        // Unmapping takes its time: without the lock.
        drop(kept);
        drop((oldest, mapped));
        shared
    }

    /// Lets go of a file whose space is wanted back. Pulls under way keep what they hold.
    pub(crate) fn forget(&self, id: FileId) {
        let mut kept = self.kept.lock();
        let gone = kept.windows.extract_if(|key, _| key.id == id);
        let gone: Vec<_> = gone.collect();
        drop(kept);
        drop(gone);
    }

    /// Lets go of what nobody used since the last call.
    pub(crate) fn rest(&self) {
        let mut kept = self.kept.lock();
        let (last, now) = (kept.rested, kept.clock);
        kept.rested = now;
        let gone = kept.windows.extract_if(|_, entry| entry.used <= last);
        let gone: Vec<_> = gone.collect();
        drop(kept);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(len: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len).unwrap();
        file
    }

    fn mapped(windows: &Windows) -> u64 {
        windows.mapped.load(Ordering::Relaxed) as u64
    }

    #[test]
    fn pulls_of_the_same_bytes_share_a_window() {
        let (windows, file) = (Windows::default(), file(SIZE + 10));
        let whole = windows
            .piece(&file, FileId(0, 1), SIZE + 10, (0, SIZE + 10))
            .unwrap();
        let later = windows
            .piece(&file, FileId(0, 1), SIZE + 10, (1000, SIZE))
            .unwrap();
        assert!(Arc::ptr_eq(&whole.mapped, &later.mapped));
        assert_eq!((later.skip, later.len as u64), (1000, SIZE - 1000));
        let end = windows
            .piece(&file, FileId(0, 1), SIZE + 10, (SIZE, SIZE + 10))
            .unwrap();
        assert_eq!((end.skip, end.len), (0, 10));
        assert_eq!(mapped(&windows), SIZE + 10);

        let part = windows
            .piece(&file, FileId(0, 1), SIZE + 10, (5, 5000))
            .unwrap();
        assert!(!Arc::ptr_eq(&whole.mapped, &part.mapped));
        assert_eq!((part.skip, part.len), (0, 4995));
        let other = windows
            .piece(&file, FileId(1, 1), SIZE + 10, (0, SIZE))
            .unwrap();
        assert!(!Arc::ptr_eq(&whole.mapped, &other.mapped));
    }

    #[test]
    fn a_bounded_number_is_kept_and_let_go() {
        let len = (MAX_KEPT as u64 + 8) * SIZE;
        let (windows, file) = (Windows::default(), file(len));
        for number in 0..MAX_KEPT as u64 + 8 {
            let from = number * SIZE;
            windows
                .piece(&file, FileId(0, 1), len, (from, from + SIZE))
                .unwrap();
            // The first is used all the time, so it stays.
            windows.piece(&file, FileId(0, 1), len, (0, SIZE)).unwrap();
        }
        assert_eq!(mapped(&windows), MAX_KEPT as u64 * SIZE);
        let key = |number| Key {
            id: FileId(0, 1),
            number,
        };
        assert!(windows.find(key(0)).is_some() && windows.find(key(1)).is_none());

        windows.piece(&file, FileId(0, 2), len, (0, SIZE)).unwrap();
        windows.forget(FileId(0, 1));
        assert_eq!(mapped(&windows), SIZE);
        windows.rest();
        assert_eq!(mapped(&windows), SIZE, "it was used since");
        windows.piece(&file, FileId(0, 3), len, (0, SIZE)).unwrap();
        windows.rest();
        assert_eq!(mapped(&windows), SIZE, "the older one was not");
        windows.rest();
        assert_eq!(mapped(&windows), 0);
    }

    #[test]
    fn many_pulls_of_different_content_get_small_windows() {
        let (windows, file) = (Windows::default(), file(SIZE));
        let held: Vec<_> = (0..1_000)
            .map(|inode| {
                windows
                    .piece(&file, FileId(0, inode), SIZE, (0, SIZE))
                    .unwrap()
            })
            .collect();
        assert!(mapped(&windows) <= MANY as u64 + 2 * SIZE + 1_000 * SMALL);
        assert_eq!(held[999].len as u64, SMALL);
    }
}
