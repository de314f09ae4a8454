//! Taking what was read: event by event, or line by line where a key has one (`turns`).

use super::turns::{Held, Lined, Room};
use super::window::{Status, Window};
use crate::delivery::group_session::{GroupSession, LocalMember, Outs};
use crate::delivery::key_slots::KeyHash;
use crate::delivery::next_step::{Ask, Taken};
use crate::ids::MemberId;
use crate::model::group::Group;
use crate::model::topic_key::KeyRef;
use crate::time::Timestamp;

impl GroupSession {
    /// Takes what was read: what has no line and the lines by turns.
    pub(crate) fn take_ready(&mut self, group: &Group, ask: Ask, taken: &mut Taken) {
        let mut has_lines = true;
        while !taken.is_full() {
            let is_front = self.line_up(group, ask.member, Some(taken));
            if taken.stop.is_some() {
                return;
            }
            if has_lines && self.turns.is_turn_of_line(is_front) {
                has_lines = self.take_line(group, ask, taken);
            } else if is_front {
                self.take_front(group, ask, taken);
            } else {
                return;
            }
        }
    }

    /// Takes away from the front of what was read for a member what is blocked and what has to
    /// wait in a line; whether there is something else.
    fn line_up(&mut self, group: &Group, member: MemberId, mut taken: Option<&mut Taken>) -> bool {
        loop {
            let Some(seat) = self.seats.iter().find(|seat| seat.member == member) else {
                return false;
            };
            let Some(ready) = seat.ready.front() else {
                return false;
            };
            let (position, lane) = (ready.position, ready.lane);
            let room = Room::of(seat);
            let known = ready.envelope.as_ref();
            let Some(envelope) = known.or_else(|| seat.fetched.get(&position)) else {
                if let Some(taken) = &mut taken {
                    taken.want(&seat.ready);
                }
                return false;
            };
            let key = KeyRef(envelope.topic(), envelope.key());
            let is_blocked = self.is_blocked(group, key, lane, position);
            if !is_blocked && taken.is_some() && !self.has_to_line_up(room, lane) {
                return true;
            }
            let Some(lined) = self.pop_ready(member) else {
                return false;
            };
            if is_blocked {
                self.set_aside(position, lane, &lined.envelope);
            } else {
                let (window, out) = (&self.window, &self.out);
                self.turns.line_up(lined, || held_of(window, out, lane));
            }
        }
    }

    fn has_to_line_up(&mut self, room: Room, lane: KeyHash) -> bool {
        if self.turns.has_line(lane) {
            return true;
        }
        if self.careful.is_some() {
            return false;
        }
        if room.is_few {
            return true;
        }
        let (window, out) = (&self.window, &self.out);
        self.turns.may_be_many(lane, room)
            && room.is_too_much(self.turns.held(lane, || held_of(window, out, lane)))
    }

    /// Takes the first event of the line whose turn it is; whether there was one.
    fn take_line(&mut self, group: &Group, ask: Ask, taken: &mut Taken) -> bool {
        let Some(seat) = self.seats.iter().find(|seat| seat.member == ask.member) else {
            return false;
        };
        let (room, slots) = (Room::of(seat), &self.slots);
        let is_mine = |lane: KeyHash| slots.owner(lane.slot()) == Some(ask.member);
        let Some(lane) = self.turns.next(room, is_mine) else {
            return false;
        };
        while let Some(lined) = self.turns.first(lane) {
            let position = lined.position;
            let key = KeyRef(lined.envelope.topic(), lined.envelope.key());
            let is_blocked = self.is_blocked(group, key, lane, position);
            if !is_blocked
                && self.careful.is_some()
                && let Some(stop) = self.is_held_up(group, ask.member, position, false, taken)
            {
                taken.stop = Some(stop);
                return true;
            }
            let Some(lined) = self.turns.pop(lane) else {
                return true;
            };
            if !is_blocked {
                self.hold(group, ask, taken, lined);
                return true;
            }
            self.set_aside(position, lane, &lined.envelope);
        }
        true
    }

    /// Takes the first event of what has no line.
    fn take_front(&mut self, group: &Group, ask: Ask, taken: &mut Taken) {
        let seat = self.seats.iter().find(|seat| seat.member == ask.member);
        let Some(ready) = seat.and_then(|seat| seat.ready.front()) else {
            return;
        };
        let position = ready.position;
        if self.careful.is_some()
            && let Some(stop) = self.is_held_up(group, ask.member, position, false, taken)
        {
            taken.stop = Some(stop);
            return;
        }
        if let Some(lined) = self.pop_ready(ask.member) {
            self.hold(group, ask, taken, lined);
        }
    }

    /// Takes the first event that was read for a member; one that has to be fetched stays.
    fn pop_ready(&mut self, member: MemberId) -> Option<Lined> {
        let seat = self.seat(member)?;
        let ready = seat.ready.front_mut()?;
        let (position, lane, bytes) = (ready.position, ready.lane, ready.bytes());
        let envelope = match ready.envelope.take() {
            Some(envelope) => envelope,
            None => seat.fetched.remove(&position)?,
        };
        seat.ready.pop_front();
        seat.ready_bytes -= bytes;
        Some(Lined {
            position,
            lane,
            envelope,
        })
    }

    /// An event that was read goes into a member's hands.
    fn hold(&mut self, group: &Group, ask: Ask, taken: &mut Taken, lined: Lined) {
        let Lined {
            position,
            lane,
            envelope,
        } = lined;
        self.returned.remove(lane, position);
        let bytes = envelope.content().len() as u32;
        let Some(entry) = self.window.find(position, &mut taken.next) else {
            return;
        };
        (entry.status, entry.owner, entry.bytes) = (Status::Held, Some(ask.member), bytes);
        if let Some(seat) = self.seat(ask.member) {
            seat.held += 1;
            seat.held_bytes += bytes as usize;
        }
        self.slots.hand_out(lane.slot());
        self.turns.hand_out(lane, bytes);
        self.deliver(group, taken, position, envelope, false);
    }

    /// Makes room for reading on, when that has waited long enough: what is too much of a key
    /// becomes its backlog. Whether there is room now.
    pub(crate) fn shed(&mut self, group: &Group, now: Timestamp) -> bool {
        if self.turns.full_until(now).is_some() {
            return false;
        }
        let full: Vec<MemberId> = self
            .seats
            .iter()
            .filter(|seat| seat.is_full())
            .map(|seat| seat.member)
            .collect();
        for member in full {
            self.line_up(group, member, None);
        }
        let (lanes, keep) = self.turns.to_shed();
        for lane in lanes {
            for lined in self.turns.split_off(lane, keep) {
                let envelope = &lined.envelope;
                let key = KeyRef(envelope.topic(), envelope.key());
                self.aside.start(&group.set_aside, key, lined.position);
                self.set_aside(lined.position, lane, envelope);
            }
        }
        !self.seats.iter().any(LocalMember::is_full) && self.turns.has_room()
    }
}

/// How much of a lane is in members' hands.
fn held_of(window: &Window, out: &Outs, lane: KeyHash) -> Held {
    let (mut events, mut bytes) = window.held_of(lane);
    for out in out.values().filter(|out| out.hash == lane) {
        events += 1;
        bytes += out.bytes as usize;
    }
    Held { events, bytes }
}
