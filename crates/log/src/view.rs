use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::check::{self, Progress, Report};
use crate::checkpoint;
use crate::chunk::Chunk;
use crate::error::{Error, Result};
use crate::position::Position;
use crate::scan::{Query, Scan};
use crate::storage::Reach;
use crate::store::Store;

/// Reads a log: durable records only, every checksum verified. Cheap to clone, usable from any
/// thread, independent of the appending side.
#[derive(Clone, Debug)]
pub struct View {
    store: Arc<Store>,
}

/// A topic, as far as records of one kind are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The kind of the records counted.
    pub kind: u8,
    /// The topic.
    pub name: String,
    /// How many records the log still keeps.
    pub records: u64,
    /// The first of them.
    pub first: Position,
    /// The last of them.
    pub last: Position,
}

impl View {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// The oldest position kept.
    #[must_use]
    pub fn first(&self) -> Position {
        Position::new(self.store.first())
    }

    /// The position after the last durable record.
    #[must_use]
    pub fn durable(&self) -> Position {
        Position::new(self.store.durable())
    }

    /// The durable records from `from` on that are still in memory, at most about 1 MiB of them.
    /// `None` when there are none, or when `from` is older than what is held: then
    /// [`read`](View::read). Never touches the disk.
    #[must_use]
    pub fn tail(&self, from: Position) -> Option<Chunk> {
        self.store.tail(from.get(), usize::MAX)
    }

    /// The same, about `bytes_max` bytes of them, and at least one frame.
    #[must_use]
    pub fn tail_of(&self, from: Position, bytes_max: usize) -> Option<Chunk> {
        self.store.tail(from.get(), bytes_max)
    }

    /// The durable records from `from` on, about `bytes_max` bytes of them (between 16 KiB and
    /// 4 MiB; a frame is never split, so one that is larger comes whole). Empty at the end of the
    /// log. Blocks on the disk unless the records are in memory.
    ///
    /// # Errors
    ///
    /// [`Error::Trimmed`](crate::Error::Trimmed) when `from` is older than
    /// [`first`](View::first), [`Error::Corrupt`](crate::Error::Corrupt) with file and offset when
    /// what is on disk is not what was written, [`Error::Io`](crate::Error::Io).
    pub fn read(&self, from: Position, bytes_max: usize) -> Result<Chunk> {
        self.store.read(from.get(), bytes_max)
    }

    /// The records that a query asks for, in chunks. Uses the indexes to skip what it does not
    /// ask for.
    #[must_use]
    pub fn scan(&self, query: Query) -> Scan {
        Scan::new(Arc::clone(&self.store), query)
    }

    /// The first record appended at or after a time in microseconds since the epoch, as far as
    /// frames tell: all records of a frame have one time. The end of the log when there is no such record.
    ///
    /// # Errors
    ///
    /// As [`read`](View::read).
    pub fn position_at(&self, time_micros: i64) -> Result<Position> {
        self.store.position_at(time_micros).map(Position::new)
    }

    /// All topics, per kind of record, with what the log keeps of them. Reads the index of every
    /// segment the first time; blocks.
    ///
    /// # Errors
    ///
    /// As [`read`](View::read).
    pub fn topics(&self) -> Result<Vec<Topic>> {
        let segments = self.store.list().clone();
        let mut all: BTreeMap<(Arc<str>, u8), Topic> = BTreeMap::new();
        for segment in &segments {
            let all_of_it = segment.ordinals(segment.first, segment.end());
            let found = match self
                .store
                .topics_in(Reach::Disk, segment, &all_of_it, &|_, _| true)
            {
                // Removed since the segments were listed.
                Err(Error::Trimmed { .. }) => continue,
                found => found?,
            };
            for found in found {
                let at = |ordinal: u32| Position::new(segment.first + u64::from(ordinal));
                let (Some(first), Some(last)) = (found.records.first(), found.records.last())
                else {
                    continue;
                };
                let topic = all
                    .entry((found.name.clone(), found.kind))
                    .or_insert_with(|| Topic {
                        kind: found.kind,
                        name: found.name.to_string(),
                        records: 0,
                        first: at(first),
                        last: at(last),
                    });
                topic.records += found.records.len();
                topic.last = at(last);
            }
        }
        Ok(all.into_values().collect())
    }

    /// How many durable records of `kind` that the log keeps lie in `from..to`, in topics for which
    /// `topics` is true. From the indexes alone: records are not read, wherever the range cuts a
    /// segment. Blocks.
    ///
    /// # Errors
    ///
    /// As [`read`](View::read).
    pub fn count(
        &self,
        from: Position,
        to: Position,
        kind: u8,
        topics: &dyn Fn(&str) -> bool,
    ) -> Result<u64> {
        let (from, to) = (from.max(self.first()).get(), to.min(self.durable()).get());
        let mut records = 0;
        for segment in &self.store.segments_in(from, to) {
            let ordinals = segment.ordinals(from, to);
            records += match self.store.count(segment, &ordinals, kind, topics) {
                // Removed since the segments were listed.
                Err(Error::Trimmed { .. }) => continue,
                count => count?,
            };
        }
        Ok(records)
    }

    /// The position of the last durable record with this key in this topic, of any kind. Blocks.
    ///
    /// # Errors
    ///
    /// As [`read`](View::read).
    pub fn last_of_key(&self, topic: &str, key: &[u8]) -> Result<Option<Position>> {
        let hash = self.store.hash_key.hash(topic.as_bytes(), key);
        let last = self.store.last_of_key_before(hash, self.store.durable())?;
        Ok(last.map(Position::new))
    }

    /// The newest checkpoint that can be read, with its position; an older one when the newest is
    /// damaged. Blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`](crate::Error::Corrupt) when there are some and all are damaged,
    /// [`Error::Io`](crate::Error::Io).
    pub fn checkpoint(&self) -> Result<Option<(Position, Bytes)>> {
        let store = &self.store;
        let found = checkpoint::newest(&*store.storage, store.uuid, store.durable())?;
        Ok(found.map(|(at, state)| (Position::new(at), state)))
    }

    /// Verifies every byte of every file: checksums, the chain of frames over all segments, the
    /// indexes, the checkpoints. Reads everything; `progress` is called after every piece.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io). Damage is not an error but a line of the report.
    pub fn check(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
        check::check(&self.store, progress)
    }
}
