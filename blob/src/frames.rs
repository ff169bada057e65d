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

    /// The first `len` bytes; those behind them stay.
    pub(crate) fn split_to(&mut self, len: usize) -> Vec<Bytes> {
        self.close_small();
        let mut taken = Vec::new();
        let mut left = len;
        while left > 0 && !self.frames.is_empty() {
            let first = &mut self.frames[0];
            if first.len() > left {
                taken.push(first.split_to(left));
                self.len -= left;
                break;
            }
            left -= first.len();
            self.len -= first.len();
            taken.push(self.frames.remove(0));
        }
        taken
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_however_they_are_cut() {
        let all: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        for cut in [0, 1, 31_000, 32 << 10, 100_000, 199_999, 200_000, 300_000] {
            let mut frames = Frames::default();
            let (mut begin, mut sizes) = (0, [5, 40_000, 100, 70_000].into_iter().cycle());
            while begin < all.len() {
                let end = all.len().min(begin + sizes.next().unwrap());
                frames.push(Bytes::copy_from_slice(&all[begin..end]));
                begin = end;
            }
            let head = frames.split_to(cut).concat();
            assert_eq!(head, all[..cut.min(all.len())], "{cut}");
            assert_eq!(frames.len(), all.len() - head.len());
            assert_eq!(frames.get().concat(), all[head.len()..]);
            assert_eq!(frames.take().concat(), all[head.len()..]);
            assert!(frames.is_empty());
        }
    }
}
