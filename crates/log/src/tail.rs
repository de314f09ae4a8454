//! The newest durable frames, in memory, for readers that keep up.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::chunk::Chunk;
use crate::frame::Frame;

/// One chunk carries at most this many bytes, and at least one frame.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Tail {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
}

impl Tail {
    /// Adds the next frame, drops the oldest beyond `bytes_max`.
    pub(crate) fn push(&mut self, frame: Arc<Frame>, bytes_max: usize) {
        self.bytes += frame.bytes();
        self.frames.push_back(frame);
        while self.bytes > bytes_max {
            let Some(oldest) = self.frames.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes();
        }
    }

    /// Durable records from `from` on, if that position is still held.
    pub(crate) fn read(&self, from: u64, bytes_max: usize) -> Option<Chunk> {
        if self.frames.front()?.first > from || self.frames.back()?.end() <= from {
            return None;
        }
        let start = self.frames.partition_point(|frame| frame.end() <= from);
        let mut bytes = 0;
        let mut frames = Vec::new();
        for frame in self.frames.range(start..) {
            bytes += frame.bytes();
            if bytes > bytes_max.min(CHUNK_BYTES_MAX) && !frames.is_empty() {
                break;
            }
            frames.push(Arc::clone(frame));
        }
        Some(Chunk::whole(frames, from))
    }
}
