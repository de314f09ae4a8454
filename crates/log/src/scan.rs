//! Reading what a query asks for, and skipping what it does not.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::chunk::{Chunk, Entry, Pick};
use crate::error::{Error, Result};
use crate::frame::{self, Frame, Parts};
use crate::hash::KeyHash;
use crate::index::{Bitmap, Posting};
use crate::position::Position;
use crate::record;
use crate::segment::{Run, Segment, Spot};
use crate::storage::{self, Reach};
use crate::store::Store;

/// A chunk of a scan holds about this many bytes.
const CHUNK_BYTES: usize = 1024 * 1024;
/// What the index leads to is at most two such pieces further on.
const SKIP_BYTES: usize = 32 * 1024;
/// A chunk of single records holds at most this many.
const CHUNK_RECORDS_MAX: usize = 4096;
/// Ranges of a topic closer than this many records are read as one.
const GAP_RECORDS: u32 = 256;

/// How many segments and ranges are looked at for the next records where nothing may wait.
const TURNS_AT_HAND_MAX: usize = 16;

type TopicFilter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What a scan yields: the records that pass every condition given.
///
/// ```
/// use ensue_log::{Position, Query};
/// use std::sync::Arc;
///
/// let query = Query {
///     from: Position::new(100),
///     topics: Some(Arc::new(|topic| topic.starts_with("orders"))),
///     kinds: Some(vec![0]),
///     ..Query::default()
/// };
/// # let _ = query;
/// ```
#[derive(Clone, Default)]
pub struct Query {
    /// The first position looked at. An older one than the log keeps is an error.
    pub from: Position,
    /// The position after the last one looked at; `None` is the durable end when the scan starts.
    pub to: Option<Position>,
    /// Only topics for which this is true. Called once a topic and segment where there is an
    /// index, and for records.
    pub topics: Option<TopicFilter>,
    /// Only records of this topic with this key: read through the index, one by one.
    pub key: Option<(String, Vec<u8>)>,
    /// Only these kinds.
    pub kinds: Option<Vec<u8>>,
    /// Only records appended at or after this time, in microseconds since the epoch.
    pub since: Option<i64>,
    /// Only records appended before this time.
    pub until: Option<i64>,
    /// For who takes few records: about how many bytes to read at first, and twice as many each time. 0 is as many as
    /// a chunk may have.
    pub ahead_bytes: usize,
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("from", &self.from)
            .field("to", &self.to)
            .field("topics", &self.topics.is_some())
            .field("key", &self.key)
            .field("kinds", &self.kinds)
            .field("since", &self.since)
            .field("until", &self.until)
            .field("ahead_bytes", &self.ahead_bytes)
            .finish()
    }
}

impl Query {
    fn matches(&self, entry: &Entry<'_>) -> bool {
        self.kinds
            .as_ref()
            .is_none_or(|kinds| kinds.contains(&entry.kind))
            && self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time < until)
            && self
                .key
                .as_ref()
                .is_none_or(|(topic, key)| entry.topic == topic && entry.key == key)
            && self
                .topics
                .as_ref()
                .is_none_or(|topics| topics(entry.topic))
    }

    fn is_filtered(&self) -> bool {
        self.kinds.is_some()
            || self.since.is_some()
            || self.until.is_some()
            || self.key.is_some()
            || self.topics.is_some()
    }
}

/// A running scan; see [`View::scan`](crate::View::scan).
#[derive(Debug)]
pub struct Scan {
    store: Arc<Store>,
    query: Query,
    hash: KeyHash,
    from: u64,
    to: u64,
    started: bool,
    /// How many bytes the next chunk has.
    ahead: usize,
    current: Option<Current>,
    /// How far the read goes that is under way.
    reach: Reach,
}

/// What a scan finds in memory.
#[derive(Debug)]
pub enum AtHand {
    /// The next records.
    Chunk(Chunk),
    /// The scan has reached its end.
    End,
    /// The disk has to be asked, by [`Scan::next_chunk`].
    OnDisk,
}

/// The segment being read.
#[derive(Debug)]
struct Current {
    segment: Arc<Segment>,
    plan: Plan,
    /// The frame after the last one read.
    spot: Option<Spot>,
}

/// What to read of a segment.
#[derive(Debug)]
enum Plan {
    /// Ranges of positions, ascending.
    Ranges(VecDeque<(u64, u64)>),
    /// Single records.
    Records(VecDeque<Posting>),
}

impl Scan {
    pub(crate) fn new(store: Arc<Store>, query: Query) -> Self {
        let to = query
            .to
            .map_or(u64::MAX, Position::get)
            .min(store.durable());
        let from = query.from.get();
        let hash = query
            .key
            .as_ref()
            .map_or_else(KeyHash::default, |(topic, key)| {
                store.hash_key.hash(topic.as_bytes(), key)
            });
        let ahead = match query.ahead_bytes {
            0 => CHUNK_BYTES,
            bytes => bytes.min(CHUNK_BYTES),
        };
        Self {
            ahead,
            store,
            query,
            hash,
            from,
            to,
            started: false,
            current: None,
            reach: Reach::Disk,
        }
    }

    /// The next records, as far as they are in memory, the operating system's included. Never waits for the disk,
    /// takes no longer than copying what it gives, and never gives what it has to look for by key or by time.
    ///
    /// # Errors
    ///
    /// As [`next_chunk`](Scan::next_chunk).
    pub fn next_at_hand(&mut self) -> Result<AtHand> {
        let is_looked_for = self.query.key.is_some()
            || (!self.started && (self.query.since.is_some() || self.query.until.is_some()));
        if is_looked_for {
            return Ok(AtHand::OnDisk);
        }
        self.reach = Reach::Memory;
        let next = self.next_chunk();
        self.reach = Reach::Disk;
        match next {
            Ok(Some(chunk)) => Ok(AtHand::Chunk(chunk)),
            Ok(None) => Ok(AtHand::End),
            Err(Error::Io { reason, .. }) if reason.kind() == io::ErrorKind::WouldBlock => {
                Ok(AtHand::OnDisk)
            }
            Err(error) => Err(error),
        }
    }

    /// The next records; `None` when the scan has reached its end. Chunks are never empty. Blocks
    /// on the disk.
    ///
    /// # Errors
    ///
    /// As [`View::read`](crate::View::read). The scan can be continued after an I/O error.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        if !self.started {
            self.start()?;
        }
        let mut turns = 0;
        while self.from < self.to {
            if self.reach == Reach::Memory && turns == TURNS_AT_HAND_MAX {
                return Err(Error::io("read", String::new())(Reach::would_block()));
            }
            turns += 1;
            let Some(mut current) = self
                .current
                .take()
                .map_or_else(|| self.enter(), |c| Ok(Some(c)))?
            else {
                return Ok(None);
            };
            let chunk = match &mut current.plan {
                Plan::Ranges(_) => self.read_range(&mut current)?,
                Plan::Records(_) => self.read_records(&mut current)?,
            };
            match chunk {
                Some(chunk) => {
                    self.current = Some(current);
                    if !chunk.is_empty() {
                        self.ahead = self.ahead.saturating_mul(2).min(CHUNK_BYTES);
                        return Ok(Some(chunk));
                    }
                }
                None => self.from = self.from.max(current.segment.end()),
            }
        }
        Ok(None)
    }

    /// Narrows the range by time.
    fn start(&mut self) -> Result<()> {
        if let Some(since) = self.query.since {
            self.from = self.from.max(self.store.position_at(since)?);
        }
        if let Some(until) = self.query.until {
            self.to = self.to.min(self.store.position_at(until)?);
        }
        self.started = true;
        Ok(())
    }

    /// Decides what to read of the segment at `from`.
    fn enter(&mut self) -> Result<Option<Current>> {
        let Some(segment) = self.store.segment_of(self.from)? else {
            return Ok(None);
        };
        let end = segment.end().min(self.to);
        let plan = if self.query.key.is_some() {
            let postings = self.store.postings(&segment, self.hash)?;
            let wanted = postings.into_iter().filter(|posting| {
                (self.from..end).contains(&(segment.first + u64::from(posting.ordinal)))
            });
            Plan::Records(wanted.collect())
        } else if self.query.topics.is_some() || self.query.kinds.is_some() {
            Plan::Ranges(self.ranges(&segment, end)?)
        } else {
            Plan::Ranges(VecDeque::from([(self.from, end)]))
        };
        Ok(Some(Current {
            segment,
            plan,
            spot: None,
        }))
    }

    /// The ranges of a segment that hold records of the topics and kinds asked for.
    fn ranges(&self, segment: &Arc<Segment>, end: u64) -> Result<VecDeque<(u64, u64)>> {
        let ordinals = segment.ordinals(self.from, end);
        let (kinds, wanted) = (&self.query.kinds, &self.query.topics);
        let is_wanted = |kind: u8, name: &str| {
            kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
                && wanted.as_ref().is_none_or(|wanted| wanted(name))
        };
        let topics = (self.store).topics_in(self.reach, segment, &ordinals, &is_wanted)?;
        let records: Vec<_> = topics.into_iter().map(|topic| topic.records).collect();
        let ranges = Bitmap::ranges(&records, GAP_RECORDS).into_iter();
        let at = |ordinal: u32| segment.first + u64::from(ordinal);
        Ok(ranges.map(|it| (at(it.start), at(it.end))).collect())
    }

    /// The next frames of the first range, filtered. `None` when no range is left.
    fn read_range(&mut self, current: &mut Current) -> Result<Option<Chunk>> {
        let Plan::Ranges(ranges) = &mut current.plan else {
            return Ok(None);
        };
        let Some((start, stop)) = ranges.front().copied() else {
            return Ok(None);
        };
        let start = start.max(self.from);
        if start >= stop {
            ranges.pop_front();
            return Ok(Some(Chunk::default()));
        }
        let spot = match current.spot.filter(|spot| spot.first == start) {
            Some(spot) => spot,
            None => (self.store).spot_before(self.reach, &current.segment, start)?,
        };
        // A short range needs few bytes, a long one is read in large pieces.
        let bytes = ((stop - spot.first) as usize)
            .saturating_mul(1024)
            .min(self.ahead);
        let run = self.read_run(current, spot, bytes)?;
        let Some(last) = run.frames.last() else {
            return Ok(None);
        };
        current.spot = Some(Spot {
            offset: run.next_offset,
            first: last.end(),
            chain: run.chain,
        });
        let next = last.end().min(stop).max(start);
        self.from = next;
        if last.end() <= start {
            // Not there yet: go on from here rather than from the index.
            return self.skip_to(current, start);
        }
        Ok(Some(self.select(run.frames, start, next)))
    }

    /// Reads on until `start` is reached.
    fn skip_to(&mut self, current: &mut Current, start: u64) -> Result<Option<Chunk>> {
        while let Some(spot) = current.spot {
            let run = self.read_run(current, spot, SKIP_BYTES)?;
            let Some(last) = run.frames.last() else {
                return Ok(None);
            };
            current.spot = Some(Spot {
                offset: run.next_offset,
                first: last.end(),
                chain: run.chain,
            });
            if last.end() > start {
                let stop = match &current.plan {
                    Plan::Ranges(ranges) => ranges.front().map_or(start, |(_, stop)| *stop),
                    Plan::Records(_) => start,
                };
                self.from = last.end().min(stop);
                return Ok(Some(self.select(run.frames, start, self.from)));
            }
        }
        Ok(None)
    }

    fn read_run(&self, current: &Current, spot: Spot, bytes: usize) -> Result<Run> {
        let outcome = (self.store).read_run(self.reach, &current.segment, spot, bytes);
        outcome.or_else(|error| self.store.segment_of(self.from).and(Err(error)))
    }

    /// The records in `from..to` that match.
    fn select(&self, mut frames: Vec<Arc<Frame>>, from: u64, to: u64) -> Chunk {
        frames.retain(|frame| frame.end() > from && frame.first < to);
        let ends_there = frames.last().is_none_or(|frame| frame.end() <= to);
        if !self.query.is_filtered() && ends_there {
            return Chunk::whole(frames, from);
        }
        let mut picks = Vec::new();
        for (number, frame) in frames.iter().enumerate() {
            let mut position = frame.first;
            for (part_number, part) in frame.parts.iter().enumerate() {
                let mut offset = 0;
                while let Some(entry) = Entry::at(part, offset, position, frame.time) {
                    if (from..to).contains(&position) && self.query.matches(&entry) {
                        picks.push(Pick {
                            frame: number as u32,
                            part: part_number as u32,
                            offset: offset as u32,
                            position,
                        });
                    }
                    offset += entry.padded();
                    position += 1;
                }
            }
        }
        if picks.is_empty() {
            return Chunk::picked(Vec::new(), picks, from, to);
        }
        Chunk::picked(frames, picks, from, to)
    }

    /// The next single records of a key. `None` when none is left in the segment.
    fn read_records(&mut self, current: &mut Current) -> Result<Option<Chunk>> {
        let Plan::Records(postings) = &mut current.plan else {
            return Ok(None);
        };
        if postings.is_empty() {
            return Ok(None);
        }
        let from = self.from;
        let (mut frames, mut picks, mut bytes) = (Vec::new(), Vec::new(), 0);
        while bytes < self.ahead && picks.len() < CHUNK_RECORDS_MAX {
            let Some(posting) = postings.front().copied() else {
                break;
            };
            let frame = read_record(&self.store, &current.segment, posting)?;
            postings.pop_front();
            self.from = frame.end();
            bytes += frame.bytes();
            let entry = frame
                .parts
                .first()
                .and_then(|part| Entry::at(part, 0, frame.first, frame.time));
            if entry.is_some_and(|entry| self.query.matches(&entry)) {
                let (number, position) = (frames.len() as u32, frame.first);
                picks.push(Pick {
                    frame: number,
                    part: 0,
                    offset: 0,
                    position,
                });
                frames.push(Arc::new(frame));
            }
        }
        Ok(Some(Chunk::picked(frames, picks, from, self.from)))
    }
}

/// One record by its place: its frame's header and itself, both checked.
fn read_record(store: &Store, segment: &Arc<Segment>, posting: Posting) -> Result<Frame> {
    /// Most frames of a record near their start, and most records, are read in one go.
    const READ_BYTES: usize = 4096;
    let opened = store.opened(segment)?;
    let position = segment.first + u64::from(posting.ordinal);
    let (frame_offset, offset) = (u64::from(posting.frame) * 8, u64::from(posting.record) * 8);
    let read = |offset, bytes: usize| {
        let mut buffer = vec![0; bytes];
        let read = storage::read_full(&*opened.handle, &mut buffer, offset)
            .map_err(|error| Error::io("read", store.shown(segment))(error))?;
        buffer.truncate(read);
        Ok::<_, Error>(buffer)
    };
    let damaged = |offset, what| Error::corrupt(store.shown(segment), offset, what);

    let head = read(frame_offset, READ_BYTES)?;
    let decoded = frame::Header::decode(&head, opened.header.salt);
    let (header, _) = decoded.ok_or_else(|| {
        damaged(
            frame_offset,
            "no good frame header where a frame was written",
        )
    })?;
    let end = header.first + u64::from(header.count);
    let inside = offset.saturating_sub(frame_offset) < header.frame_bytes();
    if !(header.first..end).contains(&position) || !inside {
        return Err(damaged(
            frame_offset,
            "the frame does not hold the record that the index says",
        ));
    }
    let within = (offset - frame_offset) as usize;
    let mut bytes = match head.get(within..) {
        Some(rest) if rest.len() >= record::HEADER_BYTES => rest.to_vec(),
        _ => read(offset, READ_BYTES)?,
    };
    let length = crate::codec::u32_at(&bytes, 4).unwrap_or_default() as usize;
    let padded = crate::codec::pad8(length);
    if padded as u64 > u64::from(header.body_bytes) {
        return Err(damaged(offset, "a record reaches past its frame"));
    }
    if bytes.len() < padded {
        bytes = read(offset, padded)?;
    }
    bytes.truncate(padded);
    record::verify(&bytes).map_err(|what| damaged(offset, what))?;
    Ok(Frame {
        first: position,
        count: 1,
        time: header.time,
        parts: Parts::One(bytes.into()),
    })
}
