//! Bytes as a request brings them, gathered until there is enough to hand on.

use bytes::{Bytes, BytesMut};

/// Smaller frames are copied together: they would pin a receive buffer each.
const COPY_BELOW: usize = 32 << 10;
/// How much room small frames are given at once.
const ROOM: usize = 256 << 10;

#[derive(Default)]
pub(crate) struct Frames {
    frames: Vec<Bytes>,
    small: BytesMut,
    len: usize,
}

impl Frames {
    pub(crate) fn push(&mut self, frame: Bytes) {
        self.len += frame.len();
        if frame.len() < COPY_BELOW {
            if self.len > COPY_BELOW {
                // More will follow: grow once and not by doubling.
                let room = ROOM.saturating_sub(self.small.len()).max(frame.len());
                self.small.reserve(room);
            }
            self.small.extend_from_slice(&frame);
            return;
        }
        self.close_small();
        self.frames.push(frame);
    }

    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        self.close_small();
        self.len = 0;
        std::mem::take(&mut self.frames)
    }

    /// What was gathered, which stays.
    pub(crate) fn get(&mut self) -> &[Bytes] {
        self.close_small();
        &self.frames
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn close_small(&mut self) {
        if !self.small.is_empty() {
            self.frames.push(self.small.split().freeze());
        }
    }
}
