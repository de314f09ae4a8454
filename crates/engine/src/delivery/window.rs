//! The events of a group that were read and have no durable outcome, in the order of positions.

use std::collections::VecDeque;

use crate::delivery::key_slots::KeyHash;
use crate::ids::MemberId;
use crate::model::position_set::Settled;

/// A window with more settled entries than this, and more than others, is packed.
const SETTLED_KEPT: usize = 1_024;

/// Where an event is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// In the queue of the member that owns its slot.
    Ready,
    /// In a member's hands.
    Held,
    /// In a member's hands, in a commit that is not durable yet.
    Committing,
    /// On its way behind its key's blocked head.
    Parking,
    /// It has an outcome.
    Settled,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// After the event before it: what lies between is nothing for this group, so that settling
    /// the event settles it too.
    pub(crate) from: u64,
    pub(crate) position: u64,
    /// The member that holds it.
    pub(crate) owner: Option<MemberId>,
    /// The bytes of the event.
    pub(crate) bytes: u32,
    pub(crate) lane: KeyHash,
    pub(crate) status: Status,
}

/// Entries in the order of positions.
#[derive(Debug, Default)]
pub(crate) struct Window {
    entries: VecDeque<Entry>,
    settled: usize,
}

impl Window {
    /// Adds an event that was read: mostly it follows all others, but not when reading began anew.
    /// Whether it was not there yet.
    pub(crate) fn add(&mut self, from: u64, position: u64, bytes: u32, lane: KeyHash) -> bool {
        let entry = Entry {
            from,
            position,
            owner: None,
            bytes,
            lane,
            status: Status::Ready,
        };
        if self
            .entries
            .back()
            .is_none_or(|last| last.position < position)
        {
            self.entries.push_back(entry);
            return true;
        }
        let place = self
            .entries
            .binary_search_by_key(&position, |entry| entry.position);
        match place {
            Ok(_) => false,
            Err(index) => {
                self.entries.insert(index, entry);
                true
            }
        }
    }

    /// Forgets what was read for nobody yet, where `is_meant` says so.
    pub(crate) fn forget_ready(&mut self, is_meant: impl Fn(KeyHash) -> bool) {
        self.entries
            .retain(|entry| entry.status != Status::Ready || !is_meant(entry.lane));
        self.settle(0);
    }

    /// Whether every event that was read has an outcome.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.len() == self.settled
    }

    /// The entry of `position`; `next` is the place after the last one found, because most
    /// commits settle neighbours.
    pub(crate) fn find(&mut self, position: u64, next: &mut usize) -> Option<&mut Entry> {
        let guess = self.entries.get(*next).map(|entry| entry.position);
        let index = match guess {
            Some(found) if found == position => *next,
            _ => self
                .entries
                .binary_search_by_key(&position, |entry| entry.position)
                .ok()?,
        };
        *next = index + 1;
        self.entries.get_mut(index)
    }

    /// The entry of `position`.
    pub(crate) fn get(&mut self, position: u64) -> Option<&mut Entry> {
        self.find(position, &mut 0)
    }

    /// The entries whose own position lies in one of `ranges`.
    pub(crate) fn within<'a>(
        &'a mut self,
        ranges: &'a Settled,
    ) -> impl Iterator<Item = &'a mut Entry> {
        let first = ranges.0.first().map_or(0, |(start, _)| {
            self.entries
                .partition_point(|entry| entry.position < *start)
        });
        let mut ranges = ranges.0.iter();
        let mut range = ranges.next();
        let mut entries = self.entries.range_mut(first..);
        std::iter::from_fn(move || {
            loop {
                let (start, end) = range?;
                let entry = entries.next()?;
                if entry.position < *start {
                    continue;
                }
                if entry.position < *end {
                    return Some(entry);
                }
                // Past this range: it may lie in the next one.
                while let Some((_, end)) = range
                    && entry.position >= *end
                {
                    range = ranges.next();
                }
                if range.is_some_and(|(start, _)| entry.position >= *start) {
                    return Some(entry);
                }
            }
        })
    }

    /// How many events of a lane are in members' hands, and their bytes.
    pub(crate) fn held_of(&self, lane: KeyHash) -> (usize, usize) {
        let is_held =
            |it: &&Entry| it.lane == lane && matches!(it.status, Status::Held | Status::Committing);
        let held = self.entries.iter().filter(is_held);
        held.fold((0, 0), |(events, bytes), it| {
            (events + 1, bytes + it.bytes as usize)
        })
    }

    /// All entries.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut()
    }

    /// Notes that `settled` more entries were marked as settled, and lets go of them.
    pub(crate) fn settle(&mut self, settled: usize) {
        self.settled += settled;
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.status == Status::Settled)
        {
            self.entries.pop_front();
            self.settled -= 1;
        }
        if self.settled > SETTLED_KEPT && self.settled > self.entries.len() / 2 {
            self.entries.retain(|entry| entry.status != Status::Settled);
            self.settled = 0;
        }
    }
}
