use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::check::{self, Progress, Report};
use crate::checkpoint;
use crate::chunk::Chunk;
use crate::error::{Error, Result};
use crate::position::Position;
use crate::scan::{Query, Scan};
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
        let mut all: BTreeMap<(Box<str>, u8), Topic> = BTreeMap::new();
        for segment in &segments {
            let counts = match self.store.topics_of(segment) {
                // Removed since the segments were listed.
                Err(Error::Trimmed { .. }) => continue,
                counts => counts?,
            };
            for count in counts {
                let at = |ordinal: u32| Position::new(segment.first + u64::from(ordinal));
                let (first, last) = (at(count.first), at(count.last));
                let topic = all
                    .entry((count.name.clone(), count.kind))
                    .or_insert_with(|| {
                        let name = count.name.to_string();
                        Topic {
                            kind: count.kind,
                            name,
                            records: 0,
                            first,
                            last,
                        }
                    });
                topic.records += count.records;
                topic.last = last;
            }
        }
        Ok(all.into_values().collect())
    }

    /// How many records of `kind` lie in `from..to`, in topics for which `topics` is true: from the
    /// counts of whole segments, by looking in those that are cut. Blocks.
    ///
    /// # Errors
    ///
    /// As [`read`](View::read).
    pub fn count(
        &self,
        from: Position,
        to: Position,
        kind: u8,
        topics: &Arc<dyn Fn(&str) -> bool + Send + Sync>,
    ) -> Result<u64> {
        let (from, to) = (from.max(self.first()).get(), to.min(self.durable()).get());
        let segments = self.store.list().clone();
        let mut records = 0;
        for segment in segments
            .iter()
            .filter(|it| it.first < to && it.end() > from)
        {
            if from <= segment.first && segment.end() <= to {
                let counts = match self.store.topics_of(segment) {
                    Err(Error::Trimmed { .. }) => continue,
                    counts => counts?,
                };
                let wanted = counts
                    .iter()
                    .filter(|it| it.kind == kind && topics(&it.name));
                records += wanted.map(|it| it.records).sum::<u64>();
                continue;
            }
            let mut scan = self.scan(Query {
                from: Position::new(from.max(segment.first)),
                to: Some(Position::new(to.min(segment.end()))),
                topics: Some(Arc::clone(topics)),
                kinds: Some(vec![kind]),
                ..Query::default()
            });
            loop {
                match scan.next_chunk() {
                    Ok(Some(chunk)) => records += chunk.len() as u64,
                    Ok(None) | Err(Error::Trimmed { .. }) => break,
                    Err(error) => return Err(error),
                }
            }
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
