//! The members of a group in this process, and the events on their way to them and in their hands.
//!
//! An event that goes into a member's hands counts in four places: with the member, with its slot, with
//! its key and in the window, or among those that were put aside. They change together, here and nowhere
//! else.

use std::collections::VecDeque;

use hashbrown::HashSet;

use super::aside_in_hands::AsideInHands;
use super::key_hash::KeyHash;
use super::key_queues::{Held, KeyQueues};
use super::key_slots::KeySlots;
use super::local_member::{LocalMember, Waiting};
use super::positions_by_key::PositionsByKey;
use super::ready_event::{QueuedEvent, ReadyEvent};
use super::slot_ownership::SlotOwnership;
use super::window::Window;
use crate::engine::Position;
use crate::event::Envelope;
use crate::ids::{MemberId, Slot};
use crate::model::position_set::Settled;
use crate::model::topic_key::TopicKey;
use crate::time::Timestamp;

/// The members, and the events that were read and have no durable outcome.
#[derive(Debug)]
pub(crate) struct InFlight {
    members: Vec<LocalMember>,
    slots: KeySlots,
    /// The queues of keys with many events, among those that were read.
    queues: KeyQueues,
    window: Window,
    aside: AsideInHands,
    /// Events that came back from a member that is gone and were not looked at since. They may belong
    /// before others of their key that were put aside meanwhile.
    returned: PositionsByKey,
    /// Events in members' hands that were delivered before their key was blocked. Their members will
    /// hand them back: until then nothing of the key may be delivered that follows them.
    fenced: PositionsByKey,
}

/// What a commit may settle.
pub(crate) enum Claimed {
    /// An event that was read: what settles with it starts here.
    Read(Position),
    /// One that was put aside.
    Aside,
}

/// The members.
impl InFlight {
    /// With all slots for `first`, before it joins.
    pub(crate) fn new(first: MemberId, queue_max: usize) -> Self {
        Self {
            members: Vec::new(),
            slots: KeySlots::new(first),
            queues: KeyQueues::new(queue_max),
            window: Window::default(),
            aside: AsideInHands::default(),
            returned: PositionsByKey::default(),
            fenced: PositionsByKey::default(),
        }
    }

    pub(crate) fn member(&self, id: MemberId) -> Option<&LocalMember> {
        self.members.iter().find(|member| member.id() == id)
    }

    fn member_mut(&mut self, id: MemberId) -> Option<&mut LocalMember> {
        self.members.iter_mut().find(|member| member.id() == id)
    }

    /// All of them, those that only keep their slots included.
    pub(crate) fn members(&self) -> &[LocalMember] {
        &self.members
    }

    /// How many events are in members' hands.
    pub(crate) fn held(&self) -> usize {
        self.members.iter().map(LocalMember::held).sum()
    }

    /// Adds a member and gives it its share of the slots.
    pub(crate) fn join(&mut self, member: LocalMember, ownership: &SlotOwnership) {
        self.members.push(member);
        self.rebalance(ownership);
    }

    /// A member leaves: what it holds and does not commit goes to the others. Gives the keys of what of
    /// that was put aside; `rebalance` follows, if a member is left.
    pub(crate) fn leave(&mut self, id: MemberId) -> HashSet<TopicKey> {
        if let Some(member) = self.member_mut(id) {
            member.leave();
        }
        let back = self.window.give_back(id);
        let aside = self.aside.give_back(id);
        let (mut count, mut bytes) = (0, 0);
        let read = back.iter().map(|it| (it.position, it.key, it.bytes));
        let put_aside = aside.iter().map(|(at, it)| (*at, it.hash, it.bytes));
        for (position, key, size) in read.chain(put_aside) {
            self.fenced.remove(key, position);
            self.slots.take_back(key.slot());
            self.queues.take_back(key, size);
            count += 1;
            bytes += size as usize;
        }
        for it in &back {
            self.returned.insert(it.key, it.position);
        }
        if let Some(member) = self.member_mut(id) {
            member.take_back(count, bytes);
            member.put_back(back.iter().map(|it| ReadyEvent {
                position: it.position,
                key: it.key,
                envelope: None,
            }));
        }
        aside.into_iter().map(|(_, it)| it.key).collect()
    }

    pub(crate) fn is_deserted(&self) -> bool {
        self.members.iter().all(LocalMember::is_gone)
    }

    /// Shares the slots among the members that are left, and what was read with them.
    pub(crate) fn rebalance(&mut self, ownership: &SlotOwnership) {
        let here = self.members.iter().filter(|member| !member.is_gone());
        let here: Vec<MemberId> = here.map(LocalMember::id).collect();
        let moved = self.slots.share(&here, |slot| ownership.has(slot));
        if moved > 0 {
            tracing::debug!(members = here.len(), slots = moved, "slots moved");
        }
        self.redistribute(ownership);
    }

    /// Puts everything that was read into the queue of its slot's owner, in order.
    pub(crate) fn redistribute(&mut self, ownership: &SlotOwnership) {
        let mut all: Vec<ReadyEvent> = Vec::new();
        for member in &mut self.members {
            all.extend(member.drain());
        }
        for queued in self.queues.clear() {
            // Others of its key may have been put aside while it waited in its queue.
            self.returned.insert(queued.key, queued.position);
            all.push(queued.into());
        }
        all.sort_by_key(|ready| ready.position);
        for ready in all {
            if ownership.has(ready.key.slot()) {
                self.enqueue(ready);
            }
        }
        if ownership.is_partial() {
            self.window.forget_ready(|key| !ownership.has(key.slot()));
            self.returned.retain(|key| ownership.has(key.slot()));
        }
        let slots = &self.slots;
        self.members
            .retain(|it| !it.is_gone() || it.held() > 0 || slots.has(it.id()));
        self.wake_all();
    }

    fn enqueue(&mut self, ready: ReadyEvent) {
        let owner = self.slots.owner(ready.key.slot());
        if let Some(member) = owner.and_then(|owner| self.member_mut(owner)) {
            member.push(ready);
        }
    }

    pub(crate) fn set_waiting(&mut self, id: MemberId, waiting: Option<Waiting>) {
        if let Some(member) = self.member_mut(id) {
            member.set_waiting(waiting);
        }
    }

    /// Wakes every member that waits.
    pub(crate) fn wake_all(&mut self) {
        self.members.iter_mut().for_each(LocalMember::wake);
    }

    /// Whether no member will do anything before the clock moves, a record comes or an event in its
    /// hands ends. `end` is the durable end of the log.
    pub(crate) fn is_at_rest(&self, end: Position, now: Timestamp) -> bool {
        let mut here = self.members.iter().filter(|member| !member.is_gone());
        here.all(|member| member.is_at_rest(end, now))
    }
}

/// What was read.
impl InFlight {
    /// An event of one of this process's keys was read; what settles with it starts at `from`. With
    /// `is_old` others may have been at work at it before.
    pub(crate) fn read(&mut self, from: Position, event: ReadyEvent, is_old: bool) {
        let (position, key) = (event.position, event.key);
        if !self.window.add(from, position, event.bytes() as u32, key) {
            return;
        }
        if is_old {
            self.returned.insert(key, position);
        }
        self.enqueue(event);
    }

    /// Forgets what was read and given to no member yet.
    pub(crate) fn rewind(&mut self) {
        for member in &mut self.members {
            drop(member.drain());
        }
        self.queues.clear();
        self.window.forget_ready(|_| true);
    }

    /// Whether everything that was read has an outcome.
    pub(crate) fn is_all_settled(&self) -> bool {
        self.window.is_empty()
    }

    /// Keeps events that were fetched for a member.
    pub(crate) fn fetched(&mut self, id: MemberId, events: Vec<(Position, Envelope)>) {
        if let Some(member) = self.member_mut(id) {
            member.fetched(events);
        }
    }

    pub(crate) fn has_fetched(&self, id: MemberId, position: Position) -> bool {
        self.member(id).is_some_and(|it| it.has_fetched(position))
    }

    pub(crate) fn take_fetched(&mut self, id: MemberId, position: Position) -> Option<Envelope> {
        self.member_mut(id)?.take_fetched(position)
    }

    /// The positions of what was read and given to no member yet.
    pub(crate) fn ready(&self) -> impl Iterator<Item = Position> {
        let ready = self.members.iter().flat_map(LocalMember::ready);
        ready.chain(self.queues.iter().map(|queued| queued.position))
    }

    /// The member that has the key.
    pub(crate) fn owner(&self, key: KeyHash) -> Option<MemberId> {
        self.slots.owner(key.slot())
    }

    /// Whether nothing of the slot is in a member's hands.
    pub(crate) fn is_free(&self, slot: Slot) -> bool {
        self.slots.out(slot) == 0
    }

    /// Takes the first event that was read for a member.
    pub(crate) fn pop(&mut self, id: MemberId) -> Option<QueuedEvent> {
        self.member_mut(id)?.pop()
    }

    /// Whether to read on now although queues could be served.
    pub(crate) fn take_reading_turn(&mut self) -> bool {
        self.queues.take_reading_turn()
    }

    /// Whether to serve a queue now; `has_others` says whether there are events of keys without one.
    pub(crate) fn take_queue_turn(&mut self, has_others: bool) -> bool {
        self.queues.take_queue_turn(has_others)
    }

    /// Whether reading has to wait until something of what was read is taken. Notes since when.
    pub(crate) fn note_full(&mut self, now: Timestamp) -> bool {
        let is_full = self.members.iter().any(LocalMember::is_full);
        self.queues.note_full(is_full, now)
    }

    /// When the wait of reading ends, if that is still to come.
    pub(crate) fn full_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.queues.full_until(now)
    }

    /// Whether there is room to read on now that queues were shed.
    pub(crate) fn note_room(&mut self) -> bool {
        !self.members.iter().any(LocalMember::is_full) && self.queues.note_room()
    }

    /// The keys whose queues are to be shed, and how many events of each stay.
    pub(crate) fn to_shed(&self) -> (Vec<KeyHash>, usize) {
        self.queues.to_shed()
    }

    /// Takes everything out of a key's queue but its first `keep` events.
    pub(crate) fn shed(&mut self, key: KeyHash, keep: usize) -> VecDeque<QueuedEvent> {
        self.queues.split_off(key, keep)
    }

    /// Takes the first event of a key's queue.
    pub(crate) fn pop_queued(&mut self, key: KeyHash) -> Option<QueuedEvent> {
        self.queues.pop(key)
    }

    /// The first event in the queue of a key.
    pub(crate) fn first_in_queue(&self, key: KeyHash) -> Option<&QueuedEvent> {
        self.queues.first(key)
    }

    /// Whether so much of a key is in the hands of the member that its next event waits in a queue;
    /// with a crash guard only where the key has one.
    pub(crate) fn needs_queue(&mut self, id: MemberId, key: KeyHash, is_guarded: bool) -> bool {
        if self.queues.has_queue(key) {
            return true;
        }
        let Some(room) = self.member(id).map(LocalMember::room) else {
            return false;
        };
        if is_guarded {
            return false;
        }
        if room.is_few() {
            return true;
        }
        let (window, aside) = (&self.window, &self.aside);
        self.queues.may_be_many(key, room)
            && room.is_too_much(self.queues.held(key, || held_of(window, aside, key)))
    }

    /// An event goes to the end of its key's queue.
    pub(crate) fn push_queued(&mut self, queued: QueuedEvent) {
        let (window, aside, key) = (&self.window, &self.aside, queued.key);
        self.queues.push(queued, || held_of(window, aside, key));
    }

    /// The key of the queue that the member is to serve next.
    pub(crate) fn next_queue(&mut self, id: MemberId) -> Option<KeyHash> {
        let room = self.member(id)?.room();
        let slots = &self.slots;
        self.queues
            .next(room, |key| slots.owner(key.slot()) == Some(id))
    }
}

/// What is in members' hands.
impl InFlight {
    /// Put-aside events in members' hands.
    pub(crate) fn aside(&self) -> &AsideInHands {
        &self.aside
    }

    /// An event that was read goes into a member's hands; whether it does. `next` is where in the window
    /// the one before it was.
    pub(crate) fn hold(&mut self, id: MemberId, queued: &QueuedEvent, next: &mut usize) -> bool {
        let (position, key) = (queued.position, queued.key);
        self.returned.remove(key, position);
        let bytes = queued.bytes() as u32;
        if !self.window.hold(position, id, bytes, next) {
            return false;
        }
        self.count(id, key, bytes);
        true
    }

    /// One that was put aside goes into a member's hands.
    pub(crate) fn hold_aside(
        &mut self,
        id: MemberId,
        position: Position,
        (key, hash): (&TopicKey, KeyHash),
        bytes: u32,
    ) {
        self.count(id, hash, bytes);
        self.aside.hold(position, id, (key.clone(), hash), bytes);
    }

    fn count(&mut self, id: MemberId, key: KeyHash, bytes: u32) {
        if let Some(member) = self.member_mut(id) {
            member.hold(bytes);
        }
        self.slots.hand_out(key.slot());
        self.queues.hand_out(key, bytes);
    }

    /// An event of a blocked key goes behind the others: what settles with it starts where.
    pub(crate) fn park(&mut self, position: Position, key: KeyHash) -> Option<Position> {
        self.returned.remove(key, position);
        self.window.park(position)
    }

    /// These keys are blocked from now on: what of them is in members' hands is fenced.
    pub(crate) fn fence(&mut self, keys: &HashSet<KeyHash>) {
        if keys.is_empty() {
            return;
        }
        let in_hands = self.window.in_hands().chain(self.aside.in_hands());
        for (key, position) in in_hands.filter(|(key, _)| keys.contains(key)) {
            self.fenced.insert(key, position);
        }
    }

    /// Whether events of the key in members' hands are fenced.
    pub(crate) fn is_fenced(&self, key: KeyHash) -> bool {
        self.fenced.has(key)
    }

    /// Whether everything of the key that was read was looked at, and is in no member's way.
    pub(crate) fn is_clear(&self, key: KeyHash) -> bool {
        !self.queues.has_queue(key) && !self.fenced.has(key) && !self.returned.has(key)
    }

    /// The first event of a key that may belong into its lane and is not there yet.
    pub(crate) fn first_outside(&self, key: KeyHash) -> Option<Position> {
        let first_queued = self.queues.first(key).map(|queued| queued.position);
        let all = [
            first_queued,
            self.returned.first(key),
            self.fenced.first(key),
        ];
        all.into_iter().flatten().min()
    }

    /// A commit of the member may settle the event at `position`, if it holds that and no other commit
    /// does.
    pub(crate) fn claim(
        &mut self,
        id: MemberId,
        position: Position,
        next: &mut usize,
    ) -> Option<Claimed> {
        if let Some(from) = self.window.claim(position, id, next) {
            return Some(Claimed::Read(from));
        }
        let is_held = self.aside.claim(position, id);
        is_held.then_some(Claimed::Aside)
    }

    /// A commit was not made: its member holds its events as before.
    pub(crate) fn unclaim(&mut self, settled: &Settled, aside: impl Iterator<Item = Position>) {
        self.window.unclaim(settled);
        aside.for_each(|position| self.aside.unclaim(position));
    }

    /// What a durable commit settles of what was read is no longer in hands; whether a slot changed
    /// hands.
    pub(crate) fn settle(&mut self, settled: &Settled) -> bool {
        let mut moved = false;
        // One member at a time is the rule: its counters are touched once.
        let (mut owner, mut held, mut bytes) = (None, 0, 0);
        let (slots, queues, fenced) = (&mut self.slots, &mut self.queues, &mut self.fenced);
        self.window.settle(settled, |back| {
            owner = back.owner;
            held += 1;
            bytes += back.bytes as usize;
            moved |= slots.take_back(back.key.slot());
            queues.take_back(back.key, back.bytes);
            fenced.remove(back.key, back.position);
        });
        if let Some(member) = owner.and_then(|owner| self.member_mut(owner)) {
            member.take_back(held, bytes);
        }
        moved
    }

    /// A put-aside event with a durable outcome is no longer in hands: its key, and whether its slot
    /// changed hands.
    pub(crate) fn settle_aside(&mut self, position: Position) -> Option<(TopicKey, bool)> {
        let back = self.aside.take_back(position)?;
        self.fenced.remove(back.hash, position);
        if let Some(member) = self.member_mut(back.owner) {
            member.take_back(1, back.bytes as usize);
        }
        self.queues.take_back(back.hash, back.bytes);
        let moved = self.slots.take_back(back.hash.slot());
        Some((back.key, moved))
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.held() == 0 && self.window.is_empty() && self.aside.is_empty()
    }
}

/// How much of a key is in members' hands.
fn held_of(window: &Window, aside: &AsideInHands, key: KeyHash) -> Held {
    let ((read, read_bytes), (put, put_bytes)) = (window.held_of(key), aside.held_of(key));
    Held {
        events: read + put,
        bytes: read_bytes + put_bytes,
    }
}
