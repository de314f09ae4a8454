//! A frame on its way to the disk.

use std::sync::Arc;

use crate::batch::Batch;
use crate::frame;
use crate::wait::Ticket;

/// A batch of this size or more is handed to the writer as it is; a smaller one is copied into
/// the frame, which is cheaper than another piece to write.
const MOVE_BYTES_MIN: usize = 64 * 1024;

/// A frame that is being filled or waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) first: u64,
    /// The first one starts with room for the frame's header.
    pub(crate) parts: Vec<Vec<u8>>,
    /// Whether small batches may still be copied into the last part.
    open: bool,
    /// The records' checksums, as on disk.
    pub(crate) crcs: Vec<u8>,
    /// The records' padded lengths.
    pub(crate) lengths: Vec<u32>,
    /// Of the records.
    pub(crate) bytes: usize,
    /// How many batches it holds.
    pub(crate) batches: u64,
    pub(crate) ticket: Arc<Ticket>,
}

impl Pending {
    pub(crate) fn end(&self) -> u64 {
        self.first + self.lengths.len() as u64
    }

    /// An empty frame with the buffers of this one, which was written. No reader
    /// has what is left of its parts.
    pub(crate) fn emptied(mut self) -> Self {
        self.parts.truncate(1);
        if let Some(part) = self.parts.first_mut() {
            part.truncate(frame::HEADER_BYTES);
        }
        self.crcs.clear();
        self.lengths.clear();
        Self {
            open: !self.parts.is_empty(),
            parts: self.parts,
            crcs: self.crcs,
            lengths: self.lengths,
            ..Self::default()
        }
    }

    /// Adds the records of a batch that starts at `start`: all, or without the duplicates, whose
    /// positions are not the next ones.
    pub(crate) fn add(
        &mut self,
        batch: Batch,
        positions: Option<&[u64]>,
        start: u64,
        guess: usize,
    ) {
        let Some(positions) = positions else {
            for slot in &batch.slots {
                self.add_record(slot.crc, slot.bytes);
            }
            if batch.bytes() >= MOVE_BYTES_MIN {
                self.take(batch.bytes);
            } else {
                self.copy(&batch.bytes, guess);
            }
            return;
        };
        let mut next = start;
        for ((slot, _, bytes), position) in batch.records().zip(positions) {
            if *position == next {
                self.add_record(slot.crc, slot.bytes);
                self.copy(bytes, guess);
                next += 1;
            }
        }
    }

    fn add_record(&mut self, crc: u32, bytes: u32) {
        self.crcs.extend_from_slice(&crc.to_le_bytes());
        self.lengths.push(bytes);
    }

    fn copy(&mut self, bytes: &[u8], guess: usize) {
        let is_first = self.bytes == 0;
        if !self.open {
            let header = if self.parts.is_empty() {
                frame::HEADER_BYTES
            } else {
                0
            };
            self.parts.push(vec![0; header]);
            self.open = true;
        }
        self.bytes += bytes.len();
        if let Some(last) = self.parts.last_mut() {
            if is_first {
                last.reserve(guess.max(bytes.len()));
            }
            last.extend_from_slice(bytes);
        }
    }

    fn take(&mut self, bytes: Vec<u8>) {
        if self.parts.is_empty() {
            self.parts.push(vec![0; frame::HEADER_BYTES]);
        }
        self.bytes += bytes.len();
        self.parts.push(bytes);
        self.open = false;
    }
}
