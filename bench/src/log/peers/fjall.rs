//! fjall: a log-structured merge tree. Its journal is what is synced.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Class, Peer};
use crate::Outcome;

struct Fjall {
    database: Database,
    events: Keyspace,
    mode: PersistMode,
    next: AtomicU64,
}

pub(super) fn open(directory: &Path, class: Class) -> Outcome<Box<dyn Peer>> {
    let database = Database::builder(directory.join("fjall")).open()?;
    let events = database.keyspace("events", KeyspaceCreateOptions::default)?;
    let mode = match class {
        Class::Sync => PersistMode::SyncData,
        Class::PageCache => PersistMode::Buffer,
    };
    Ok(Box::new(Fjall {
        database,
        events,
        mode,
        next: AtomicU64::new(0),
    }))
}

impl Peer for Fjall {
    fn append(&self, body: &[u8]) -> Outcome<()> {
        let key = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        self.events.insert(key, body)?;
        Ok(self.database.persist(self.mode)?)
    }

    fn append_batch(&self, bodies: &[&[u8]]) -> Outcome<()> {
        let mut batch = self.database.batch();
        for body in bodies {
            let key = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            batch.insert(&self.events, key, *body);
        }
        batch.commit()?;
        Ok(self.database.persist(self.mode)?)
    }

    fn scan(&self, visit: &mut dyn FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        for item in self.events.iter() {
            visit(&item.value()?)?;
        }
        Ok(())
    }
}
