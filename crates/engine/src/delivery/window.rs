//! The events of a group that were read and have no durable outcome, in the order of positions.

use std::collections::VecDeque;

use super::key_hash::KeyHash;
use crate::engine::Position;
use crate::ids::MemberId;
use crate::model::position_set::Settled;

/// A window with more settled entries than this, and more than others, is packed.
const SETTLED_KEPT: usize = 1_024;

/// Where an event is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
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
struct Entry {
    /// After the event before it: what lies between is nothing for this group, so that settling
    /// the event settles it too.
    from: Position,
    position: Position,
    /// The member that holds it.
    owner: Option<MemberId>,
    /// The bytes of the event.
    bytes: u32,
    key: KeyHash,
    status: Status,
}

/// An event that is no longer in a member's hands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Back {
    pub(crate) position: Position,
    pub(crate) key: KeyHash,
    pub(crate) owner: Option<MemberId>,
    pub(crate) bytes: u32,
}

/// Entries in the order of positions.
#[derive(Debug, Default)]
pub(crate) struct Window {
    entries: VecDeque<Entry>,
    settled: usize,
}

impl Window {
    /// Adds an event that was read: mostly it follows all others, but not when reading began again.
    /// Whether it was not there yet.
    pub(crate) fn add(
        &mut self,
        from: Position,
        position: Position,
        bytes: u32,
        key: KeyHash,
    ) -> bool {
        let entry = Entry {
            from,
            position,
            owner: None,
            bytes,
            key,
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

    /// Forgets what was read and given to no member yet, where `is_meant` says so.
    pub(crate) fn forget_ready(&mut self, is_meant: impl Fn(KeyHash) -> bool) {
        self.entries
            .retain(|entry| entry.status != Status::Ready || !is_meant(entry.key));
        self.let_go(0);
    }

    /// Whether every event that was read has an outcome.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.len() == self.settled
    }

    /// The entry of `position`; `next` is the place after the last one found, because most
    /// commits settle neighbours.
    fn find(&mut self, position: Position, next: &mut usize) -> Option<&mut Entry> {
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

    /// The event at `position` goes into a member's hands; whether it was read. `next` is where the one
    /// before it was found.
    pub(crate) fn hold(
        &mut self,
        position: Position,
        owner: MemberId,
        bytes: u32,
        next: &mut usize,
    ) -> bool {
        let Some(entry) = self.find(position, next) else {
            return false;
        };
        (entry.status, entry.owner, entry.bytes) = (Status::Held, Some(owner), bytes);
        true
    }

    /// The event at `position` goes behind its key's blocked head: what to settle with it starts where.
    pub(crate) fn park(&mut self, position: Position) -> Option<Position> {
        let entry = self.find(position, &mut 0)?;
        entry.status = Status::Parking;
        Some(entry.from)
    }

    /// The event at `position`, which the member holds, is in a commit: what that settles starts where.
    pub(crate) fn claim(
        &mut self,
        position: Position,
        member: MemberId,
        next: &mut usize,
    ) -> Option<Position> {
        let entry = self.find(position, next)?;
        if entry.owner != Some(member) || entry.status != Status::Held {
            return None;
        }
        entry.status = Status::Committing;
        Some(entry.from)
    }

    /// A commit was not made: its member holds its events as before.
    pub(crate) fn unclaim(&mut self, settled: &Settled) {
        for entry in self.within(settled) {
            if entry.status == Status::Committing {
                entry.status = Status::Held;
            }
        }
    }

    /// A commit is durable: tells of each event that is no longer in hands.
    pub(crate) fn settle(&mut self, settled: &Settled, mut tell: impl FnMut(Back)) {
        let mut count = 0;
        for entry in self.within(settled) {
            match entry.status {
                Status::Committing => tell(entry.back()),
                Status::Parking => {}
                Status::Ready | Status::Held | Status::Settled => continue,
            }
            entry.status = Status::Settled;
            count += 1;
        }
        self.let_go(count);
    }

    /// What a member holds and does not commit is ready again.
    pub(crate) fn give_back(&mut self, member: MemberId) -> Vec<Back> {
        let held = self
            .entries
            .iter_mut()
            .filter(|entry| entry.owner == Some(member) && entry.status == Status::Held);
        held.map(|entry| {
            entry.status = Status::Ready;
            entry.back()
        })
        .collect()
    }

    /// The entries whose own position lies in one of `ranges`.
    fn within<'a>(&'a mut self, ranges: &'a Settled) -> impl Iterator<Item = &'a mut Entry> {
        let mut ranges = ranges.iter().peekable();
        let first = ranges.peek().map_or(0, |(start, _)| {
            self.entries
                .partition_point(|entry| entry.position < *start)
        });
        let mut range = ranges.next();
        let mut entries = self.entries.range_mut(first..);
        std::iter::from_fn(move || {
            loop {
                let (start, end) = range?;
                let entry = entries.next()?;
                if entry.position < start {
                    continue;
                }
                if entry.position < end {
                    return Some(entry);
                }
                // Past this range: it may lie in the next one.
                while let Some((_, end)) = range
                    && entry.position >= end
                {
                    range = ranges.next();
                }
                if range.is_some_and(|(start, _)| entry.position >= start) {
                    return Some(entry);
                }
            }
        })
    }

    /// The events in members' hands, and their keys.
    pub(crate) fn in_hands(&self) -> impl Iterator<Item = (KeyHash, Position)> {
        let in_hands = self.entries.iter().filter(|entry| entry.is_in_hands());
        in_hands.map(|entry| (entry.key, entry.position))
    }

    /// How many events of a key are in members' hands, and their bytes.
    pub(crate) fn held_of(&self, key: KeyHash) -> (usize, usize) {
        let held = self
            .entries
            .iter()
            .filter(|it| it.key == key && it.is_in_hands());
        held.fold((0, 0), |(events, bytes), it| {
            (events + 1, bytes + it.bytes as usize)
        })
    }

    /// Notes that `settled` more entries were marked as settled, and lets go of them.
    fn let_go(&mut self, settled: usize) {
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

impl Entry {
    fn is_in_hands(&self) -> bool {
        matches!(self.status, Status::Held | Status::Committing)
    }

    fn back(&self) -> Back {
        Back {
            position: self.position,
            key: self.key,
            owner: self.owner,
            bytes: self.bytes,
        }
    }
}
