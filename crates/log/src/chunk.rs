use std::sync::Arc;

use bytes::Bytes;

use crate::frame::Frame;
use crate::position::Position;
use crate::record::Layout;

/// Some durable, verified records in order of position, in shared memory: cloning is cheap and
/// copies nothing.
///
/// ```
/// # use ensue_log::{Batch, Log, Options, Position, Record, storage};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let log = Log::open(std::sync::Arc::new(storage::Memory::new()), Options::default())?;
/// # let mut batch = Batch::new();
/// # batch.push(&Record { kind: 0, id: None, topic: "t", key: b"k", body: b"b" })?;
/// # log.append(batch)?;
/// let view = log.view();
/// let mut from = Position::ZERO;
/// while from < view.durable() {
///     let chunk = view.read(from, 256 * 1024)?;
///     for entry in chunk.iter() {
///         println!("{} {} {:?}", entry.position, entry.topic, entry.body);
///     }
///     from = chunk.next();
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    frames: Arc<[Arc<Frame>]>,
    picks: Option<Arc<[Pick]>>,
    from: u64,
    next: u64,
    count: usize,
    bytes: usize,
}

/// One chosen record of a filtered chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick {
    pub(crate) frame: u32,
    pub(crate) part: u32,
    pub(crate) offset: u32,
    pub(crate) position: u64,
}

impl Chunk {
    /// Every record of `frames`, which follow one another, from `from` on.
    pub(crate) fn whole(frames: Vec<Arc<Frame>>, from: u64) -> Self {
        let next = frames.last().map_or(from, |frame| frame.end()).max(from);
        let bytes = frames.iter().map(|frame| frame.bytes()).sum();
        let count = (next - from) as usize;
        Self {
            frames: frames.into(),
            picks: None,
            from,
            next,
            count,
            bytes,
        }
    }

    /// The chosen records of `frames`; reading goes on at `next`.
    pub(crate) fn picked(frames: Vec<Arc<Frame>>, picks: Vec<Pick>, from: u64, next: u64) -> Self {
        let bytes = frames.iter().map(|frame| frame.bytes()).sum();
        let count = picks.len();
        Self {
            frames: frames.into(),
            picks: Some(picks.into()),
            from,
            next,
            count,
            bytes,
        }
    }

    /// The number of records it yields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it yields no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The encoded bytes it keeps in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where to read on: every record before this that was asked for is in this chunk or an
    /// earlier one.
    #[must_use]
    pub fn next(&self) -> Position {
        Position::new(self.next)
    }

    /// The records in order of position.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        let first = self.frames.first().map_or(self.from, |frame| frame.first);
        Iter {
            chunk: self,
            frame: 0,
            part: 0,
            offset: 0,
            position: first,
            pick: 0,
        }
    }

    /// The records from where an earlier iteration of this very chunk [paused](Iter::pause).
    #[must_use]
    pub fn resume(&self, place: Place) -> Iter<'_> {
        let Place {
            frame,
            part,
            offset,
            position,
            pick,
        } = place;
        Iter {
            chunk: self,
            frame,
            part,
            offset,
            position,
            pick,
        }
    }
}

impl<'a> IntoIterator for &'a Chunk {
    type Item = Entry<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The records of a [`Chunk`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    chunk: &'a Chunk,
    frame: usize,
    part: usize,
    offset: usize,
    position: u64,
    pick: usize,
}

/// Where an iteration paused; means something to its own chunk only.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    frame: usize,
    part: usize,
    offset: usize,
    position: u64,
    pick: usize,
}

impl<'a> Iter<'a> {
    /// Where to go on later, with [`Chunk::resume`].
    #[must_use]
    pub fn pause(&self) -> Place {
        let Self {
            frame,
            part,
            offset,
            position,
            pick,
            ..
        } = *self;
        Place {
            frame,
            part,
            offset,
            position,
            pick,
        }
    }

    fn next_pick(&mut self, picks: &[Pick]) -> Option<Entry<'a>> {
        let pick = picks.get(self.pick)?;
        self.pick += 1;
        let frame = self.chunk.frames.get(pick.frame as usize)?;
        let part = frame.parts.get(pick.part as usize)?;
        Entry::at(part, pick.offset as usize, pick.position, frame.time)
    }

    fn next_whole(&mut self) -> Option<Entry<'a>> {
        loop {
            let frame = self.chunk.frames.get(self.frame)?;
            let Some(part) = frame.parts.get(self.part) else {
                (self.frame, self.part, self.offset) = (self.frame + 1, 0, 0);
                continue;
            };
            if self.offset >= part.len() {
                (self.part, self.offset) = (self.part + 1, 0);
                continue;
            }
            let entry = Entry::at(part, self.offset, self.position, frame.time)?;
            self.offset += entry.layout.padded();
            self.position += 1;
            if entry.position.get() >= self.chunk.from {
                return Some(entry);
            }
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        match &self.chunk.picks {
            Some(picks) => self.next_pick(picks),
            None => self.next_whole(),
        }
    }
}

/// One record as it was appended, with its position and time.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// Its place in the log.
    pub position: Position,
    /// When its frame was written, in microseconds since the Unix epoch. Never goes back along
    /// the log.
    pub time: i64,
    /// As appended.
    pub kind: u8,
    /// As appended.
    pub id: Option<u128>,
    /// As appended.
    pub topic: &'a str,
    /// As appended.
    pub key: &'a [u8],
    /// As appended.
    pub body: &'a [u8],
    part: &'a Bytes,
    start: usize,
    layout: Layout,
}

impl<'a> Entry<'a> {
    pub(crate) fn at(part: &'a Bytes, start: usize, position: u64, time: i64) -> Option<Self> {
        let bytes = part.get(start..)?;
        let layout = Layout::read(bytes)?;
        Some(Self {
            position: Position::new(position),
            time,
            kind: layout.kind,
            id: layout.id,
            // Checked when the record was pushed or read from disk, so never the default.
            topic: std::str::from_utf8(layout.topic(bytes)).unwrap_or_default(),
            key: layout.key(bytes),
            body: layout.body(bytes),
            part,
            start,
            layout,
        })
    }

    /// Topic, key and body, one after the other, sharing the chunk's memory. The topic takes
    /// [`topic_len`](Self::topic_len) bytes, the key [`key_len`](Self::key_len), the body the
    /// rest. Keeps the memory of the whole frame alive.
    #[must_use]
    pub fn content(&self) -> Bytes {
        // In range: Layout::read checked `end` against the part.
        self.part
            .slice(self.start + self.layout.content..self.start + self.layout.end)
    }

    /// The bytes of the topic.
    #[must_use]
    pub fn topic_len(&self) -> usize {
        self.layout.topic_bytes
    }

    /// The bytes of the key.
    #[must_use]
    pub fn key_len(&self) -> usize {
        self.layout.key_bytes
    }

    pub(crate) fn padded(&self) -> usize {
        self.layout.padded()
    }
}

impl std::fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("position", &self.position.get())
            .field("time", &self.time)
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("topic", &self.topic)
            .field("key", &self.key)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}
