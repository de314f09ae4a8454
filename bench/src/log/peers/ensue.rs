//! The log itself, driven as the others are.

use std::path::Path;

use ensue_log::{Batch, Durability, Log, Query, Record};

use super::super::append;
use super::{Class, Peer};
use crate::Outcome;

struct Ensue(Log);

pub(super) fn open(directory: &Path, class: Class) -> Outcome<Box<dyn Peer>> {
    let durability = match class {
        Class::Sync => Durability::Sync,
        Class::PageCache => Durability::Os,
    };
    Ok(Box::new(Ensue(append::open(directory, durability)?)))
}

impl Peer for Ensue {
    fn append(&self, body: &[u8]) -> Outcome<()> {
        self.append_batch(&[body])
    }

    fn append_batch(&self, bodies: &[&[u8]]) -> Outcome<()> {
        let bytes = bodies.iter().map(|body| body.len() + 64).sum();
        let mut batch = Batch::with_capacity(bytes);
        for body in bodies {
            batch.push(&Record {
                kind: 0,
                id: Some(fastrand::u128(..)),
                topic: "orders",
                key: body.get(..8).unwrap_or_default(),
                body,
            })?;
        }
        self.0.append(batch)?;
        Ok(())
    }

    fn scan(&self, visit: &mut dyn FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let mut scan = self.0.view().scan(Query::default());
        while let Some(chunk) = scan.next_chunk()? {
            for entry in &chunk {
                visit(entry.body)?;
            }
        }
        Ok(())
    }
}
