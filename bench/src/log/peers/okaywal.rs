//! OkayWAL: a write-ahead log that hands its entries on and forgets them. Here it has so much room
//! that it does not come to that, and is read by recovering it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use okaywal::{Configuration, Entry, EntryId, LogManager, SegmentReader, WriteAheadLog};

use super::{Class, Peer};
use crate::Outcome;

/// Zeroed when it is opened, before anything is measured.
const PREALLOCATED_BYTES: u32 = 256 * 1024 * 1024;
const CHECKPOINT_BYTES: u64 = 16 * 1024 * 1024 * 1024;

struct OkayWal {
    log: WriteAheadLog,
    recovered: Recovered,
}

/// What recovery found.
#[derive(Clone, Debug, Default)]
struct Recovered(Arc<Mutex<Vec<Vec<u8>>>>);

impl LogManager for Recovered {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        if let Some(mut chunks) = entry.read_all_chunks()? {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.append(&mut chunks);
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _last: EntryId,
        _entries: &mut SegmentReader,
        _log: &WriteAheadLog,
    ) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn open(directory: &Path, _class: Class) -> Outcome<Box<dyn Peer>> {
    let recovered = Recovered::default();
    let log = Configuration::default_for(directory.join("okaywal"))
        .preallocate_bytes(PREALLOCATED_BYTES)
        .checkpoint_after_bytes(CHECKPOINT_BYTES)
        .open(recovered.clone())?;
    Ok(Box::new(OkayWal { log, recovered }))
}

impl Peer for OkayWal {
    fn append(&self, body: &[u8]) -> Outcome<()> {
        self.append_batch(&[body])
    }

    fn append_batch(&self, bodies: &[&[u8]]) -> Outcome<()> {
        let mut entry = self.log.begin_entry()?;
        for body in bodies {
            entry.write_chunk(body)?;
        }
        entry.commit()?;
        Ok(())
    }

    fn scan(&self, visit: &mut dyn FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let all = self.recovered.0.lock();
        let all = all.unwrap_or_else(PoisonError::into_inner);
        all.iter().try_for_each(|body| visit(body))
    }
}
