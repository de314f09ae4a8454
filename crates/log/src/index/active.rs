//! The index of the segment being written, kept as records are submitted.
//!
//! It is keyed by position, not by offset: which segment a record lands in is known only when its
//! frame is written. Offsets follow then ([`Active::placed`]), and a roll splits the index at the
//! new segment's first position ([`Active::split`]).

use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;

use super::topics::{self, TopicRecords, Topics};
use crate::hash::KeyHash;

/// No earlier record of the key in this segment.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Active {
    base: u64,
    /// For each record, in order of position:
    hashes: Vec<KeyHash>,
    previous: Vec<u32>,
    topic_of: Vec<u32>,
    /// Offset / 8 of each record that is on disk: at most as many as there are hashes.
    offsets: Vec<u32>,
    frames: Vec<Placed>,
    ids: Vec<(u128, u32)>,
    last: HashMap<KeyHash, u32, BuildHasherDefault<TakeFirst>>,
    topics: Topics,
    /// Records at this position and after went to the next segment.
    cut: u64,
}

/// A frame on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    /// Its first record, counted from the segment's first.
    pub(crate) ordinal: u32,
    /// Offset in the file, divided by 8.
    pub(crate) offset: u32,
    pub(crate) time: i64,
}

/// What the index must know of a record.
#[derive(Clone, Copy)]
pub(crate) struct Seed<'a> {
    pub(crate) hash: KeyHash,
    pub(crate) kind: u8,
    pub(crate) topic: &'a str,
    pub(crate) id: Option<u128>,
}

impl Active {
    /// An empty index whose first record will be at `base`.
    pub(crate) fn new(base: u64) -> Self {
        Self {
            base,
            hashes: Vec::new(),
            previous: Vec::new(),
            topic_of: Vec::new(),
            offsets: Vec::new(),
            frames: Vec::new(),
            ids: Vec::new(),
            last: HashMap::default(),
            topics: Topics::default(),
            cut: u64::MAX,
        }
    }

    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    pub(crate) fn end(&self) -> u64 {
        self.cut.min(self.base + self.hashes.len() as u64)
    }

    /// Brings what is needed to add records with these hashes closer to the processor.
    pub(crate) fn fetch(&self, hashes: impl Iterator<Item = KeyHash>) {
        let known = hashes.filter(|hash| self.last.contains_key(hash)).count();
        std::hint::black_box(known);
    }

    /// Adds the next record.
    pub(crate) fn push(&mut self, seed: Seed<'_>) {
        let ordinal = self.hashes.len() as u32;
        self.hashes.push(seed.hash);
        self.previous
            .push(self.last.insert(seed.hash, ordinal).unwrap_or(NONE));
        if let Some(id) = seed.id {
            self.ids.push((id, ordinal));
        }
        let number = self.topics.push(seed.kind, seed.topic, ordinal);
        self.topic_of.push(number);
    }

    /// Notes where the next records that have no offset yet were written: one frame.
    pub(crate) fn placed(&mut self, frame: Placed, lengths: &[u32]) {
        self.frames.push(frame);
        let mut offset = frame.offset + (crate::frame::HEADER_BYTES / 8) as u32;
        for length in lengths {
            self.offsets.push(offset);
            offset += length / 8;
        }
    }

    /// The key's last record, also one that is not durable yet.
    pub(crate) fn last_of(&self, hash: KeyHash) -> Option<u64> {
        let mut last = self.base + u64::from(*self.last.get(&hash)?);
        while last >= self.cut {
            last = self.previous_of(last)?;
        }
        Some(last)
    }

    /// The key's record before the one at `position`.
    pub(crate) fn previous_of(&self, position: u64) -> Option<u64> {
        let ordinal = usize::try_from(position.checked_sub(self.base)?).ok()?;
        let previous = self
            .previous
            .get(ordinal)
            .copied()
            .filter(|previous| *previous != NONE)?;
        Some(self.base + u64::from(previous))
    }

    /// The last frame that starts at or before `position`.
    pub(crate) fn frame_at(&self, position: u64) -> Option<Placed> {
        let ordinal = position.checked_sub(self.base)?;
        let after = self
            .frames
            .partition_point(|frame| u64::from(frame.ordinal) <= ordinal);
        self.frames.get(after.checked_sub(1)?).copied()
    }

    /// Where each record's frame is and where it is itself, in order: offset / 8.
    pub(crate) fn places(&self) -> Vec<(u32, u32)> {
        let mut frames = self.frames.iter().peekable();
        let mut frame = 0;
        let place = |(ordinal, offset): (u32, &u32)| {
            while let Some(next) = frames.next_if(|next| next.ordinal <= ordinal) {
                frame = next.offset;
            }
            (frame, *offset)
        };
        (0..).zip(&self.offsets).map(place).collect()
    }

    /// The last frame written before `time`, or the first of all.
    pub(crate) fn frame_before(&self, time: i64) -> Option<Placed> {
        let after = self.frames.partition_point(|frame| frame.time < time);
        self.frames.get(after.saturating_sub(1)).copied()
    }

    /// Offset / 8 of the record at `position`.
    pub(crate) fn offset_of(&self, position: u64) -> Option<u32> {
        let ordinal = usize::try_from(position.checked_sub(self.base)?).ok()?;
        self.offsets.get(ordinal).copied()
    }

    /// The topics that have records among `ordinals`, and which.
    pub(crate) fn topics(&self, ordinals: &Range<u32>) -> Vec<TopicRecords> {
        topics::part(self.topics.list(), &self.kept(ordinals), &|_, _| true)
    }

    pub(crate) fn topics_count(&self) -> usize {
        self.topics.list().len()
    }

    /// How many records of `kind` each topic has among `ordinals`, if it has any.
    pub(crate) fn counts(&self, kind: u8, ordinals: &Range<u32>) -> Vec<(Arc<str>, u64)> {
        let kept = self.kept(ordinals);
        let counts = topics::counts(self.topics.list(), kind, &kept);
        counts.map(|(name, count)| (name.clone(), count)).collect()
    }

    /// Those of `ordinals` that this index answers for.
    fn kept(&self, ordinals: &Range<u32>) -> Range<u32> {
        let end = (self.end() - self.base) as u32;
        ordinals.start..ordinals.end.min(end)
    }

    /// The hash of every record, in order.
    pub(crate) fn hashes(&self) -> &[KeyHash] {
        let kept = (self.end() - self.base) as usize;
        self.hashes.get(..kept).unwrap_or(&self.hashes)
    }

    pub(crate) fn frames(&self) -> &[Placed] {
        &self.frames
    }

    /// Every id, with its record counted from the segment's first.
    pub(crate) fn ids(&self) -> &[(u128, u32)] {
        let kept = self.end() - self.base;
        let kept = self
            .ids
            .partition_point(|(_, ordinal)| u64::from(*ordinal) < kept);
        self.ids.get(..kept).unwrap_or(&self.ids)
    }

    /// Cuts the index at `at`: this one answers only for what is before, the new one for the rest.
    pub(crate) fn split(&mut self, at: u64) -> Self {
        let keep = at.saturating_sub(self.base) as usize;
        let mut rest = Self::new(at);
        // The next segment will probably be like this one: no growing under the lock.
        rest.last.reserve(self.last.len());
        self.copy(keep..self.hashes.len(), &mut rest);
        self.cut = at;
        rest
    }

    /// Forgets the records at `at` and after.
    pub(crate) fn truncate(&mut self, at: u64) {
        let keep = (at.saturating_sub(self.base) as usize).min(self.hashes.len());
        let mut kept = Self::new(self.base);
        self.copy(0..keep, &mut kept);
        kept.offsets = std::mem::take(&mut self.offsets);
        kept.offsets.truncate(keep);
        kept.frames = std::mem::take(&mut self.frames);
        kept.frames.retain(|frame| (frame.ordinal as usize) < keep);
        *self = kept;
    }

    fn copy(&self, ordinals: std::ops::Range<usize>, to: &mut Self) {
        let from = self
            .ids
            .partition_point(|(_, ordinal)| (*ordinal as usize) < ordinals.start);
        let mut ids = self.ids.get(from..).unwrap_or_default().iter().peekable();
        for ordinal in ordinals {
            let id = ids
                .next_if(|(_, of)| *of as usize == ordinal)
                .map(|(id, _)| *id);
            let number = self.topic_of.get(ordinal).copied().unwrap_or_default();
            // Both exist: `hashes` and `topic_of` grow together, numbers come from `topics`.
            if let (Some(hash), Some(topic)) = (self.hashes.get(ordinal), self.topics.get(number)) {
                to.push(Seed {
                    hash: *hash,
                    kind: topic.kind,
                    topic: &topic.name,
                    id,
                });
            }
        }
    }
}

/// Takes the first word of a [`KeyHash`] as its hash: it is one already.
#[derive(Default)]
pub(crate) struct TakeFirst(u64);

impl std::hash::Hasher for TakeFirst {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, word: u64) {
        self.0 ^= word;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(active: &mut Active, key: u64, topic: &str) {
        let id = Some(u128::from(active.end()));
        active.push(Seed {
            hash: KeyHash(key, 0),
            kind: 1,
            topic,
            id,
        });
    }

    /// Twelve records from position 100: keys 0, 1, 2 in turn, the first half in topic "a".
    fn example() -> Active {
        let mut active = Active::new(100);
        for n in 0..12 {
            push(&mut active, n % 3, if n < 6 { "a" } else { "b" });
        }
        active
    }

    /// Each topic with how many of the first `records` it has, and the last of them.
    fn count(active: &Active, records: u32) -> Vec<(String, u64, u32)> {
        let topics = active.topics(&(0..records)).into_iter();
        topics
            .map(|topic| {
                let (count, last) = (topic.records.len(), topic.records.last());
                (topic.name.to_string(), count, last.unwrap())
            })
            .collect()
    }

    #[test]
    fn a_split_shares_the_records_out() {
        let mut old = example();
        let rest = old.split(105);
        assert_eq!((old.end(), rest.base(), rest.end()), (105, 105, 112));
        assert_eq!(old.last_of(KeyHash(2, 0)), Some(102));
        assert_eq!(rest.last_of(KeyHash(2, 0)), Some(111));
        assert_eq!(rest.previous_of(105), None);
        assert_eq!(old.ids().last(), Some(&(104, 4)));
        assert_eq!(rest.ids().first(), Some(&(105, 0)));
        assert_eq!(count(&old, u32::MAX), [("a".to_owned(), 5, 4)]);
        assert_eq!(
            count(&rest, u32::MAX),
            [("a".to_owned(), 1, 0), ("b".to_owned(), 6, 6)]
        );
    }

    #[test]
    fn truncated_records_are_forgotten() {
        let mut active = example();
        active.placed(
            Placed {
                ordinal: 0,
                offset: 512,
                time: 7,
            },
            &[64; 4],
        );
        active.truncate(104);
        assert_eq!(
            (active.end(), active.last_of(KeyHash(1, 0))),
            (104, Some(101))
        );
        assert_eq!(active.offset_of(101), Some(512 + 8 + 8));
        assert_eq!(active.frame_at(103).map(|frame| frame.time), Some(7));
        push(&mut active, 1, "c");
        assert_eq!(active.previous_of(104), Some(101));
    }

    #[test]
    fn topics_count_what_is_durable() {
        let active = example();
        assert_eq!(
            count(&active, 8),
            [("a".to_owned(), 6, 5), ("b".to_owned(), 2, 7)]
        );
        assert_eq!(count(&active, 3), [("a".to_owned(), 3, 2)]);
    }
}
