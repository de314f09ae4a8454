//! Walrus: a log of topics. Its directory comes from the environment of the process.

use std::path::Path;

use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus};

use super::{Class, Peer};
use crate::Outcome;

const TOPIC: &str = "orders";
const READ_BYTES: usize = 4 * 1024 * 1024;

struct WalrusLog(Walrus);

pub(super) fn open(_directory: &Path, class: Class) -> Outcome<Box<dyn Peer>> {
    let schedule = match class {
        Class::Sync => FsyncSchedule::SyncEach,
        Class::PageCache => FsyncSchedule::NoFsync,
    };
    // Where reading has got to need not survive.
    let reading = ReadConsistency::AtLeastOnce {
        persist_every: u32::MAX,
    };
    let log = Walrus::with_consistency_and_schedule(reading, schedule)?;
    Ok(Box::new(WalrusLog(log)))
}

impl Peer for WalrusLog {
    fn append(&self, body: &[u8]) -> Outcome<()> {
        Ok(self.0.append_for_topic(TOPIC, body)?)
    }

    fn append_batch(&self, bodies: &[&[u8]]) -> Outcome<()> {
        Ok(self.0.batch_append_for_topic(TOPIC, bodies)?)
    }

    fn scan(&self, visit: &mut dyn FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        loop {
            let entries = self.0.batch_read_for_topic(TOPIC, READ_BYTES, true)?;
            if entries.is_empty() {
                return Ok(());
            }
            entries.iter().try_for_each(|entry| visit(&entry.data))?;
        }
    }
}
