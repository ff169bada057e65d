//! The three things that need `unsafe`: mapping a file, asking what of it is in memory, starting a write-back early.
//!
//! The invariant of mapped bytes: **only the kernel reads them** (they are handed to `writev`). A page beyond the end of
//! a truncated file, or one that the disk cannot read, then makes that system call fail with EFAULT; the same page read
//! by our own code would be a SIGBUS, which ends the process. So: never look into them, compare, copy or encrypt them.
#![expect(
    unsafe_code,
    reason = "mmap, mincore and sync_file_range have no safe wrapper; each use says why it holds"
)]

use std::{fs::File, io, os::fd::AsRawFd};

use memmap2::{Advice, Mmap, MmapOptions};

/// A part of a file in our address space.
pub(crate) struct Window {
    map: Mmap,
}

impl Window {
    pub(crate) fn open(file: &File, offset: u64, len: usize) -> io::Result<Self> {
        // SAFETY: published files are replaced by rename, never written again, and by the invariant above their bytes
        // are read by the kernel alone, so that a file cut short by others leads to an error and not to a signal.
        let map = unsafe { MmapOptions::new().offset(offset).len(len).map(file) }?;
        Ok(Self { map })
    }

    /// Whether all its pages are in memory, so that touching them does not wait for the disk.
    pub(crate) fn is_resident(&self) -> bool {
        const BATCH: usize = 1024;
        let page = rustix::param::page_size();
        let start = self.map.as_ptr() as usize;
        let aligned = start - start % page;
        let pages = (start + self.map.len() - aligned).div_ceil(page);
        let mut states = [0_u8; BATCH];
        for first in (0..pages).step_by(BATCH) {
            let count = BATCH.min(pages - first);
            // SAFETY: the range lies within the mapping (whole pages of it), and `states` holds a byte for each page.
            let answer = unsafe {
                libc::mincore(
                    (aligned + first * page) as *mut libc::c_void,
                    count * page,
                    states.as_mut_ptr(),
                )
            };
            if answer != 0 || states[..count].iter().any(|state| state & 1 == 0) {
                return false;
            }
        }
        true
    }

    /// Reads what is missing and enters all pages. A page that cannot be had is an error here, never a signal;
    /// `InvalidInput` means a kernel before 5.14.
    pub(crate) fn populate(&self) -> io::Result<()> {
        self.map.advise(Advice::PopulateRead)
    }
}

impl AsRef<[u8]> for Window {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

/// Asks the kernel to begin writing these bytes, so that the flush at the end finds little left. A hint: errors
/// of the disk are reported by that flush.
pub(crate) fn start_writeback(file: &File, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else {
        return;
    };
    // SAFETY: takes a descriptor that `file` keeps open, and plain numbers.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE);
    }
}
