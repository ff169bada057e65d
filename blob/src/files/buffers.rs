//! Memory for pulls that are copied: reused, because fresh pages from the kernel cost more than the copy into them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;

/// The size of every buffer that is kept.
pub(crate) const BUFFER: usize = 256 << 10;
const MAX_IDLE: usize = 16;

#[derive(Default)]
pub(crate) struct Buffers {
    idle: Mutex<Vec<Vec<u8>>>,
    out: AtomicUsize,
}

impl Buffers {
    /// Zeros or old bytes, to be read over.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let kept = if len <= BUFFER / 4 {
            None
        } else {
            self.idle.lock().pop()
        };
        let capacity = if len <= BUFFER / 4 {
            len
        } else {
            len.max(BUFFER)
        };
        self.out.fetch_add(capacity, Ordering::Relaxed);
        Buffer {
            bytes: kept.unwrap_or_else(|| vec![0; capacity]),
            len,
            home: Arc::clone(self),
        }
    }

    /// Bytes in buffers that are being filled or sent.
    pub(crate) fn out(&self) -> usize {
        self.out.load(Ordering::Relaxed)
    }
}

pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    home: Arc<Buffers>,
}

impl Buffer {
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.out.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        let mut idle = self.home.idle.lock();
        if self.bytes.len() == BUFFER && idle.len() < MAX_IDLE {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}
