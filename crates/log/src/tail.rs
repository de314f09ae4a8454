//! The newest durable frames, in memory, for readers that keep up.
//!
//! What it takes is counted as it is allocated: small frames lie one after the other in blocks,
//! large ones in a buffer of their own that has just their size.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::chunk::Chunk;
use crate::frame::{Frame, Parts};

/// One chunk carries at most this many bytes, and at least one frame.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// Frames of at most this size are copied into blocks: their own buffers are used again.
pub(crate) const SMALL_BYTES_MAX: usize = 4096;
/// What a reader that holds on to a small frame keeps in memory.
const BLOCK_BYTES: usize = 64 * 1024;
/// What a frame takes beside its bytes: itself, its counters, its place in the queue.
const FRAME_BYTES: usize = size_of::<Frame>() + 4 * size_of::<usize>();

#[derive(Debug, Default)]
pub(crate) struct Tail {
    frames: VecDeque<Held>,
    /// Of `frames`.
    bytes: usize,
    /// Where the next small frame goes.
    block: BytesMut,
}

#[derive(Debug)]
struct Held {
    frame: Arc<Frame>,
    /// What it takes in memory.
    bytes: usize,
}

/// The records of a frame that was just written.
#[derive(Debug)]
pub(crate) enum Body<'a> {
    Small(&'a [u8]),
    Large(Parts),
}

impl Tail {
    /// Adds the next frame, drops the oldest beyond `bytes_max`.
    pub(crate) fn push(
        &mut self,
        (first, count, time): (u64, u32, i64),
        body: Body<'_>,
        bytes_max: usize,
    ) {
        let (parts, bytes) = match body {
            Body::Small(body) => self.copy(body),
            Body::Large(parts) => {
                let bytes = parts.iter().map(Bytes::len).sum();
                (parts, bytes)
            }
        };
        let bytes = bytes + FRAME_BYTES;
        let frame = Arc::new(Frame {
            first,
            count,
            time,
            parts,
        });
        self.bytes += bytes;
        self.frames.push_back(Held { frame, bytes });
        while self.bytes > bytes_max {
            let Some(oldest) = self.frames.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes;
        }
    }

    /// Copies a small body into the block; also says what that takes, with what is left unused of
    /// the block before.
    fn copy(&mut self, body: &[u8]) -> (Parts, usize) {
        let left = self.block.capacity() - self.block.len();
        let unused = if left < body.len() {
            self.block = BytesMut::with_capacity(BLOCK_BYTES.max(body.len()));
            left
        } else {
            0
        };
        self.block.extend_from_slice(body);
        let copied = self.block.split().freeze();
        (Parts::One(copied), body.len() + unused)
    }

    /// Durable records from `from` on, if that position is still held.
    pub(crate) fn read(&self, from: u64, bytes_max: usize) -> Option<Chunk> {
        let (oldest, newest) = (self.frames.front()?, self.frames.back()?);
        if oldest.frame.first > from || newest.frame.end() <= from {
            return None;
        }
        let start = self.frames.partition_point(|held| held.frame.end() <= from);
        let mut bytes = 0;
        let mut frames = Vec::new();
        for Held { frame, .. } in self.frames.range(start..) {
            bytes += frame.bytes();
            if bytes > bytes_max.min(CHUNK_BYTES_MAX) && !frames.is_empty() {
                break;
            }
            frames.push(Arc::clone(frame));
        }
        Some(Chunk::whole(frames, from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_frames_count_with_what_they_take() {
        const BYTES_MAX: usize = 1024 * 1024;
        let mut tail = Tail::default();
        for position in 0..100_000 {
            tail.push((position, 1, 0), Body::Small(&[7; 24]), BYTES_MAX);
        }
        assert!(tail.bytes <= BYTES_MAX);
        let held = tail.frames.len();
        assert!(held * (24 + size_of::<Frame>()) < BYTES_MAX, "{held}");
        assert!(held > 4_000, "{held}");
    }

    #[test]
    fn what_a_block_leaves_unused_counts() {
        let mut tail = Tail::default();
        // Each block holds 15 of them, and 4,036 bytes are left.
        for position in 0..16 {
            tail.push((position, 1, 0), Body::Small(&[7; 4100]), usize::MAX);
        }
        assert_eq!(
            tail.bytes,
            16 * (4100 + FRAME_BYTES) + BLOCK_BYTES - 15 * 4100
        );
    }
}
