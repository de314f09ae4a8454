//! What appending and reading share: the segments, the durable position, the tail, the indexes.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, Weak};

use crate::chunk::Chunk;
use crate::codec::lock;
use crate::error::{Error, Result};
use crate::files::Manifest;
use crate::hash::{HashKey, KeyHash};
use crate::index::{Active, IndexFile, Posting, Sealed, index_frames};
use crate::position::Position;
use crate::segment::{Header, Opened, Segment, Spot};
use crate::storage::{Reach, Storage};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock, RwLockReadGuard};
use crate::tail::{Body, Tail};
use crate::trimmed;
use crate::writers::Writers;

/// How many sealed segments stay open, with their indexes in memory.
const OPEN_SEGMENTS_MAX: usize = 256;
/// A read asks for at most this many bytes at once; a larger frame is read whole.
pub(crate) const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
/// And for at least this many, so that small requests do not become small reads.
pub(crate) const READ_BYTES_MIN: usize = 16 * 1024;

pub(crate) struct Store {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) uuid: u128,
    pub(crate) hash_key: HashKey,
    /// Those that write files by name; none does in a directory that is another process's.
    pub(crate) writers: Writers,
    segments: RwLock<Vec<Arc<Segment>>>,
    durable: AtomicU64,
    pub(crate) tail: RwLock<Tail>,
    /// Of the last segment.
    pub(crate) active: Mutex<Active>,
    open: Mutex<VecDeque<Weak<Segment>>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("storage", &self.storage.describe(""))
            .field("first", &self.first())
            .field("durable", &self.durable())
            .finish_non_exhaustive()
    }
}

impl Store {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        uuid: u128,
        hash_key: HashKey,
        is_writable: bool,
        segments: Vec<Arc<Segment>>,
        active: Active,
    ) -> Self {
        let durable = segments
            .last()
            .map_or(active.base(), |segment| segment.end());
        Self {
            storage,
            uuid,
            hash_key,
            writers: Writers::new(is_writable),
            segments: RwLock::new(segments),
            durable: AtomicU64::new(durable),
            tail: RwLock::default(),
            active: Mutex::new(active),
            open: Mutex::default(),
        }
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn set_durable(&self, durable: u64) {
        self.durable.store(durable, Ordering::Release);
    }

    pub(crate) fn list(&self) -> RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        edit(
            &mut self
                .segments
                .write()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Goes on in a new segment; the index of the sealed one stays in memory until it is written.
    pub(crate) fn roll(&self, segment: Arc<Segment>, sealed: Option<&Arc<Segment>>) {
        let mut active = lock(&self.active);
        let rest = active.split(segment.first);
        let old = std::mem::replace(&mut *active, rest);
        if let Some(sealed) = sealed {
            *lock(&sealed.memory) = Some(Arc::new(old));
        }
        self.edit(|segments| segments.push(segment));
    }

    pub(crate) fn push_tail(&self, head: (u64, u32, i64), body: Body<'_>, bytes_max: usize) {
        self.tail
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(head, body, bytes_max);
    }

    /// The oldest position kept.
    pub(crate) fn first(&self) -> u64 {
        self.list()
            .first()
            .map_or_else(|| self.durable(), |segment| segment.first)
    }

    /// The segment that holds `position`, or would.
    pub(crate) fn segment_of(&self, position: u64) -> Result<Option<Arc<Segment>>> {
        let segments = self.list();
        let Some(oldest) = segments.first() else {
            return Ok(None);
        };
        if position < oldest.first {
            return Err(Error::Trimmed {
                position: Position::new(position),
                first: Position::new(oldest.first),
            });
        }
        let after = segments.partition_point(|segment| segment.first <= position);
        Ok(segments.get(after.wrapping_sub(1)).cloned())
    }

    /// The segments that hold positions of `from..to`.
    pub(crate) fn segments_in(&self, from: u64, to: u64) -> Vec<Arc<Segment>> {
        let segments = self.list();
        let start = segments.partition_point(|segment| segment.end() <= from);
        let end = segments.partition_point(|segment| segment.first < to);
        segments.get(start..end).unwrap_or_default().to_vec()
    }

    /// The open file of a segment; closes the one opened longest ago when there are too many.
    pub(crate) fn opened(&self, segment: &Arc<Segment>) -> Result<Arc<Opened>> {
        let (opened, fresh) = segment
            .opened(&*self.storage, self.uuid)
            .map_err(|error| self.or_trimmed(segment, error))?;
        if fresh {
            let mut open = lock(&self.open);
            open.push_back(Arc::downgrade(segment));
            if open.len() > OPEN_SEGMENTS_MAX
                && let Some(oldest) = open.pop_front().and_then(|segment| segment.upgrade())
            {
                oldest.close();
            }
        }
        Ok(opened)
    }

    /// The file of a segment is missing because it was trimmed meanwhile, here or by the process
    /// that owns the log: then that is what is said.
    fn or_trimmed(&self, segment: &Segment, error: Error) -> Error {
        let Error::Io { reason, .. } = &error else {
            return error;
        };
        if reason.kind() != std::io::ErrorKind::NotFound {
            return error;
        }
        let manifest = Manifest::read(&*self.storage).ok().flatten();
        let manifest = manifest.filter(|manifest| manifest.uuid == self.uuid);
        let kept = self
            .first()
            .max(manifest.map_or(0, |manifest| manifest.first));
        if segment.first < kept {
            let (position, first) = (Position::new(segment.first), Position::new(kept));
            return Error::Trimmed { position, first };
        }
        error
    }

    /// The header of a segment; reads it once.
    pub(crate) fn header(&self, segment: &Arc<Segment>) -> Result<Header> {
        match segment.known_header() {
            Some(header) => Ok(header),
            None => self.opened(segment).map(|opened| opened.header),
        }
    }

    pub(crate) fn shown(&self, segment: &Segment) -> String {
        self.storage.describe(&segment.name)
    }

    /// Runs `look` on the index in memory of a segment, if it has one.
    pub(crate) fn with_memory<T>(
        &self,
        segment: &Segment,
        look: impl FnOnce(&Active) -> T,
    ) -> Option<T> {
        {
            let active = lock(&self.active);
            if active.base() == segment.first {
                return Some(look(&active));
            }
        }
        let memory = lock(&segment.memory).clone();
        memory.map(|memory| look(&memory))
    }

    /// Asks the index file of a sealed segment; rebuilds it when it is missing or damaged.
    pub(crate) fn with_sealed<T>(
        &self,
        segment: &Arc<Segment>,
        ask: impl Fn(&Sealed) -> Result<T>,
    ) -> Result<T> {
        let sealed = match self.cached_sealed(segment) {
            Some(sealed) => sealed,
            None => {
                let _loading = lock(&segment.loading);
                match self.cached_sealed(segment) {
                    Some(sealed) => sealed,
                    None => {
                        let file = self.index_file(segment)?;
                        self.keep_sealed(segment, file.load(|| self.index_of(segment))?)
                    }
                }
            }
        };
        match ask(&sealed) {
            Err(error @ Error::Corrupt { .. }) => {
                let _loading = lock(&segment.loading);
                let rebuilt = match self.cached_sealed(segment) {
                    Some(other) if !Arc::ptr_eq(&other, &sealed) => other,
                    _ => {
                        tracing::warn!(
                            %error,
                            "an index file is damaged; it is rebuilt from its segment"
                        );
                        let found = self.index_of(segment)?;
                        self.keep_sealed(segment, self.index_file(segment)?.write(&found)?)
                    }
                };
                ask(&rebuilt)
            }
            outcome => outcome,
        }
    }

    /// Where the index file of a segment is.
    pub(crate) fn index_file(&self, segment: &Arc<Segment>) -> Result<IndexFile<'_>> {
        Ok(IndexFile {
            storage: &*self.storage,
            writers: &self.writers,
            uuid: self.uuid,
            salt: self.header(segment)?.salt,
            first: segment.first,
            end: segment.end(),
        })
    }

    /// The index of a segment, from its records.
    fn index_of(&self, segment: &Arc<Segment>) -> Result<Active> {
        let mut index = Active::new(segment.first);
        let mut spot = segment.start(&*self.opened(segment)?);
        while spot.first < segment.end() {
            let run = self.read_run(Reach::Disk, segment, spot, usize::MAX)?;
            index_frames(self.hash_key, &mut index, &run.frames, spot.offset);
            let Some(last) = run.frames.last() else { break };
            spot = Spot {
                offset: run.next_offset,
                first: last.end(),
                chain: run.chain,
            };
        }
        Ok(index)
    }

    pub(crate) fn cached_sealed(&self, segment: &Segment) -> Option<Arc<Sealed>> {
        lock(&segment.sealed).clone()
    }

    fn keep_sealed(&self, segment: &Arc<Segment>, sealed: Sealed) -> Arc<Sealed> {
        let sealed = Arc::new(sealed);
        *lock(&segment.sealed) = Some(Arc::clone(&sealed));
        sealed
    }

    /// All records of the key with this hash in a segment, ascending, durable ones only.
    pub(crate) fn postings(&self, segment: &Arc<Segment>, hash: KeyHash) -> Result<Vec<Posting>> {
        let end = segment.end();
        let found = self.with_memory(segment, |active| {
            let mut found = Vec::new();
            let mut next = active.last_of(hash);
            while let Some(position) = next {
                // Only durable records have an offset.
                if position < end
                    && let (Some(frame), Some(offset)) =
                        (active.frame_at(position), active.offset_of(position))
                {
                    let ordinal = (position - active.base()) as u32;
                    found.push(Posting {
                        ordinal,
                        frame: frame.offset,
                        record: offset,
                    });
                }
                next = active.previous_of(position);
            }
            found.reverse();
            found
        });
        found.map_or_else(
            || self.with_sealed(segment, |sealed| sealed.postings(hash)),
            Ok,
        )
    }

    /// The key's last position before `before`.
    pub(crate) fn last_of_key_before(&self, hash: KeyHash, before: u64) -> Result<Option<u64>> {
        let segments = self.list().clone();
        for segment in segments
            .iter()
            .rev()
            .filter(|segment| segment.first < before)
        {
            let found = self.with_memory(segment, |active| {
                let mut last = active.last_of(hash);
                while last.is_some_and(|last| last >= before) {
                    last = last.and_then(|last| active.previous_of(last));
                }
                last
            });
            let found = match found {
                Some(found) => found,
                None => match self.with_sealed(segment, |sealed| sealed.postings(hash)) {
                    Ok(postings) => postings
                        .last()
                        .map(|posting| segment.first + u64::from(posting.ordinal)),
                    // And so are all that are older.
                    Err(Error::Trimmed { .. }) => return Ok(None),
                    Err(error) => return Err(error),
                },
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The last `count_max` ids with their positions, oldest first, those of trimmed segments
    /// included.
    pub(crate) fn last_ids(&self, count_max: usize) -> Result<Vec<(u128, u64)>> {
        let segments = self.list().clone();
        let oldest = segments.first().map_or(u64::MAX, |segment| segment.first);
        let mut pieces = Vec::new();
        let mut count = 0;
        for segment in segments.iter().rev() {
            if count >= count_max {
                break;
            }
            let ids = match self.ids_of(segment) {
                // Removed just now: its ids were written before.
                Err(Error::Trimmed { .. }) => self.trimmed_ids(segment.first)?,
                ids => ids?,
            };
            count += ids.len();
            pieces.push((segment.first, ids));
        }
        for first in trimmed::firsts(&*self.storage, oldest)?.into_iter().rev() {
            if count >= count_max {
                break;
            }
            let ids = self.trimmed_ids(first)?;
            count += ids.len();
            pieces.push((first, ids));
        }
        let all = pieces.iter().rev().flat_map(|(first, ids)| {
            ids.iter()
                .map(|(id, ordinal)| (*id, *first + u64::from(*ordinal)))
        });
        Ok(all.skip(count.saturating_sub(count_max)).collect())
    }

    fn trimmed_ids(&self, first: u64) -> Result<Vec<(u128, u32)>> {
        trimmed::read(&*self.storage, self.uuid, first).map(Option::unwrap_or_default)
    }

    /// Every id of a segment, with its record counted from the segment's first.
    pub(crate) fn ids_of(&self, segment: &Arc<Segment>) -> Result<Vec<(u128, u32)>> {
        let ids = self.with_memory(segment, |active| active.ids().to_vec());
        ids.map_or_else(|| self.with_sealed(segment, Sealed::ids), Ok)
    }

    /// How many records of a segment have an id.
    pub(crate) fn ids_count(&self, segment: &Arc<Segment>) -> Result<usize> {
        let count = self.with_memory(segment, |active| active.ids().len());
        count.map_or_else(
            || self.with_sealed(segment, |sealed| Ok(sealed.ids_count())),
            Ok,
        )
    }

    /// How many of these records of a segment are of `kind`, in topics for which `wanted` is true.
    /// Only durable ones may be asked for.
    pub(crate) fn count(
        &self,
        segment: &Arc<Segment>,
        ordinals: &Range<u32>,
        kind: u8,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<u64> {
        // What is wanted is asked without the lock, for which appends wait.
        let counts = self.with_memory(segment, |active| active.counts(kind, ordinals));
        let Some(counts) = counts else {
            return self.with_sealed(segment, |sealed| Ok(sealed.count(kind, ordinals, wanted)));
        };
        let counts = counts.into_iter().filter(|(name, _)| wanted(name));
        Ok(counts.map(|(_, count)| count).sum())
    }

    /// Durable records from `from` on, from memory or from disk.
    pub(crate) fn read(&self, from: u64, bytes_max: usize) -> Result<Chunk> {
        if from >= self.durable() {
            return Ok(Chunk::whole(Vec::new(), from));
        }
        if let Some(chunk) = self.tail(from, bytes_max) {
            return Ok(chunk);
        }
        let Some(segment) = self.segment_of(from)? else {
            return Ok(Chunk::whole(Vec::new(), from));
        };
        let outcome = self.read_in(&segment, from, bytes_max);
        // A trim may have removed the file between the look-up and the read.
        outcome.or_else(|error| self.segment_of(from).and(Err(error)))
    }

    fn read_in(&self, segment: &Arc<Segment>, from: u64, bytes_max: usize) -> Result<Chunk> {
        let mut spot = self.spot_before(Reach::Disk, segment, from)?;
        loop {
            let run = match self.read_run(Reach::Disk, segment, spot, bytes_max) {
                Err(error @ Error::Corrupt { .. }) => {
                    // Damage before what is asked for does not matter while the way past is known.
                    let opened = self.opened(segment)?;
                    spot = segment.pass(&opened, spot, from).ok_or(error)?;
                    continue;
                }
                run => run?,
            };
            let Some(last) = run.frames.last() else {
                return Ok(Chunk::whole(Vec::new(), from));
            };
            if last.end() > from {
                let skip = run.frames.partition_point(|frame| frame.end() <= from);
                let frames = run.frames.get(skip..).unwrap_or_default().to_vec();
                return Ok(Chunk::whole(frames, from));
            }
            spot = Spot {
                offset: run.next_offset,
                first: last.end(),
                chain: run.chain,
            };
        }
    }

    pub(crate) fn tail(&self, from: u64, bytes_max: usize) -> Option<Chunk> {
        if from < self.first() {
            // Trimmed: memory must not know more than the disk.
            return None;
        }
        self.tail
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .read(from, bytes_max)
    }
}

impl Store {
    /// The first position whose frame was written at or after `time`, or the end.
    pub(crate) fn position_at(&self, time: i64) -> Result<u64> {
        match self.look_up_time(time) {
            // What is removed by now was written before what is kept.
            Err(Error::Trimmed { first, .. }) => Ok(first.get()),
            outcome => outcome,
        }
    }

    fn look_up_time(&self, time: i64) -> Result<u64> {
        let segments = self.list().clone();
        // The last segment that starts before the time; all earlier ones are older.
        let mut outcome = Ok(());
        let after = segments.partition_point(|segment| match self.header(segment) {
            Ok(header) => header.time < time,
            Err(Error::Trimmed { .. }) => true,
            Err(error) => {
                outcome = Err(error);
                false
            }
        });
        outcome?;
        let Some(segment) = after.checked_sub(1).and_then(|index| segments.get(index)) else {
            return Ok(segments
                .first()
                .map_or_else(|| self.durable(), |segment| segment.first));
        };
        let opened = self.opened(segment)?;
        let placed = self.with_memory(segment, |active| active.frame_before(time));
        let placed = match placed {
            Some(placed) => placed,
            None => self.with_sealed(segment, |sealed| Ok(sealed.frame_before(time)))?,
        };
        let mut spot = placed.map_or_else(
            || segment.start(&opened),
            |placed| Spot {
                offset: u64::from(placed.offset) * 8,
                first: segment.first + u64::from(placed.ordinal),
                chain: None,
            },
        );
        loop {
            let run = self.read_run(Reach::Disk, segment, spot, READ_BYTES_MIN)?;
            if let Some(frame) = run.frames.iter().find(|frame| frame.time >= time) {
                return Ok(frame.first);
            }
            let Some(last) = run.frames.last() else {
                return Ok(segment.end());
            };
            spot = Spot {
                offset: run.next_offset,
                first: last.end(),
                chain: run.chain,
            };
        }
    }
}
