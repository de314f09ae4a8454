//! fjall: a log-structured merge tree. Its journal is what is synced.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Config, Keyspace, PartitionCreateOptions, PartitionHandle, PersistMode};

use super::{Class, Peer};
use crate::Outcome;

struct Fjall {
    keyspace: Keyspace,
    events: PartitionHandle,
    mode: PersistMode,
    next: AtomicU64,
}

pub(super) fn open(directory: &Path, class: Class) -> Outcome<Box<dyn Peer>> {
    let keyspace = Config::new(directory.join("fjall")).open()?;
    let events = keyspace.open_partition("events", PartitionCreateOptions::default())?;
    let mode = match class {
        Class::Sync => PersistMode::SyncData,
        Class::PageCache => PersistMode::Buffer,
    };
    Ok(Box::new(Fjall {
        keyspace,
        events,
        mode,
        next: AtomicU64::new(0),
    }))
}

impl Peer for Fjall {
    fn append(&self, body: &[u8]) -> Outcome<()> {
        let key = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        self.events.insert(key, body)?;
        Ok(self.keyspace.persist(self.mode)?)
    }

    fn append_batch(&self, bodies: &[&[u8]]) -> Outcome<()> {
        let mut batch = self.keyspace.batch();
        for body in bodies {
            let key = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            batch.insert(&self.events, key, *body);
        }
        batch.commit()?;
        Ok(self.keyspace.persist(self.mode)?)
    }

    fn scan(&self, visit: &mut dyn FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        for pair in self.events.iter() {
            let (_, body) = pair?;
            visit(&body)?;
        }
        Ok(())
    }
}
