//! redb: a copy-on-write B-tree.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::{Class, Peer};
use crate::Outcome;

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

struct Redb {
    database: Database,
    next: AtomicU64,
}

pub(super) fn open(directory: &Path, _class: Class) -> Outcome<Box<dyn Peer>> {
    Ok(Box::new(Redb {
        database: Database::create(directory.join("events.redb"))?,
        next: AtomicU64::new(0),
    }))
}

impl Peer for Redb {
    fn append(&self, body: &[u8]) -> Outcome<()> {
        self.append_batch(&[body])
    }

    fn append_batch(&self, bodies: &[&[u8]]) -> Outcome<()> {
        // Waits for the writer before it, so that the numbers below are handed out in order.
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        {
            let mut events = write.open_table(EVENTS)?;
            for body in bodies {
                events.insert(self.next.fetch_add(1, Ordering::Relaxed), *body)?;
            }
        }
        Ok(write.commit()?)
    }

    fn scan(&self, visit: &mut dyn FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let events = self.database.begin_read()?.open_table(EVENTS)?;
        for pair in events.iter()? {
            let (_, body) = pair?;
            visit(body.value())?;
        }
        Ok(())
    }
}
