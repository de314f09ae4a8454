//! commitlog: segments and memory-mapped indexes. It never syncs the records themselves.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use commitlog::message::{MessageBuf, MessageSet};
use commitlog::{CommitLog, LogOptions, ReadLimit};

use super::{Class, Peer};
use crate::Outcome;

const READ_BYTES: usize = 1024 * 1024;

struct Segments(Mutex<CommitLog>);

pub(super) fn open(directory: &Path, _class: Class) -> Outcome<Box<dyn Peer>> {
    let log = CommitLog::new(LogOptions::new(directory.join("commitlog")))?;
    Ok(Box::new(Segments(Mutex::new(log))))
}

impl Peer for Segments {
    fn append(&self, body: &[u8]) -> Outcome<()> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.append_msg(body)?;
        Ok(())
    }

    fn append_batch(&self, bodies: &[&[u8]]) -> Outcome<()> {
        let mut batch: MessageBuf = bodies.iter().collect();
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.append(&mut batch)?;
        Ok(())
    }

    fn scan(&self, visit: &mut dyn FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = 0;
        while next < log.next_offset() {
            let messages = log.read(next, ReadLimit::max_bytes(READ_BYTES))?;
            for message in messages.iter() {
                visit(message.payload())?;
                next = message.offset() + 1;
            }
        }
        Ok(())
    }
}
