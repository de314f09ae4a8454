//! Taking what was read: event by event, or line by line where a key has one (`turns`).

use super::key_hash::KeyHash;
use super::local_member::LocalMember;
use super::ready_event::LinedEvent;
use super::taking::{Stop, Taken, Taking};
use crate::ids::MemberId;
use crate::model::topic_key::KeyRef;

/// Takes what was read: what has no line and the lines by turns.
pub(super) fn take_ready(taking: &mut Taking<'_>, taken: &mut Taken) {
    let (id, mut has_lines) = (taking.ask.member, true);
    while !taken.is_over() {
        let is_front = line_up(taking, id, Some(&mut *taken));
        if taken.has_stopped() {
            return;
        }
        if has_lines && taking.in_flight.turns().take_line_turn(is_front) {
            has_lines = take_line(taking, taken);
        } else if is_front {
            take_front(taking, taken);
        } else {
            return;
        }
    }
}

/// Takes away from the front of what was read for a member what is blocked and what has to
/// wait in a line; whether there is something else.
fn line_up(taking: &mut Taking<'_>, id: MemberId, mut taken: Option<&mut Taken>) -> bool {
    loop {
        let Some(member) = taking.in_flight.member(id) else {
            return false;
        };
        let Some(ready) = member.front() else {
            return false;
        };
        let (position, hash) = (ready.position, ready.key);
        let Some(envelope) = member.front_envelope() else {
            if let Some(taken) = &mut taken {
                want(taken, member);
            }
            return false;
        };
        let key = KeyRef(envelope.topic(), envelope.key());
        let is_blocked = taking.is_blocked(key, hash, position);
        let is_guarded = taking.guard.is_some();
        if !is_blocked && taken.is_some() && !taking.in_flight.has_to_line_up(id, hash, is_guarded)
        {
            return true;
        }
        let Some(lined) = taking.in_flight.pop(id) else {
            return false;
        };
        if is_blocked {
            taking.set_aside(position, hash, &lined.envelope);
        } else {
            taking.in_flight.line_up(lined);
        }
    }
}

/// The first of what was read for the member is to be fetched, as far as it is not there.
fn want(taken: &mut Taken, member: &LocalMember) {
    taken.stop(Stop::Fetch);
    let missing = member.missing(taken.events_max());
    taken.fetch(missing);
}

/// Takes the first event of the line whose turn it is; whether there was one.
fn take_line(taking: &mut Taking<'_>, taken: &mut Taken) -> bool {
    let Some(hash) = taking.in_flight.next_line(taking.ask.member) else {
        return false;
    };
    while let Some(lined) = taking.in_flight.first_in_line(hash) {
        let position = lined.position;
        let key = KeyRef(lined.envelope.topic(), lined.envelope.key());
        let is_blocked = taking.is_blocked(key, hash, position);
        if !is_blocked && let Some(stop) = taking.hold_up(position, false, taken) {
            taken.stop(stop);
            return true;
        }
        let Some(lined) = taking.in_flight.turns().pop(hash) else {
            return true;
        };
        if !is_blocked {
            hold(taking, taken, lined);
            return true;
        }
        taking.set_aside(position, hash, &lined.envelope);
    }
    true
}

/// Takes the first event of what has no line.
fn take_front(taking: &mut Taking<'_>, taken: &mut Taken) {
    let id = taking.ask.member;
    let member = taking.in_flight.member(id);
    let Some(ready) = member.and_then(LocalMember::front) else {
        return;
    };
    let position = ready.position;
    if let Some(stop) = taking.hold_up(position, false, taken) {
        taken.stop(stop);
        return;
    }
    if let Some(lined) = taking.in_flight.pop(id) {
        hold(taking, taken, lined);
    }
}

/// An event that was read goes into the member's hands.
fn hold(taking: &mut Taking<'_>, taken: &mut Taken, lined: LinedEvent) {
    let id = taking.ask.member;
    if taking.in_flight.hold(id, &lined, &mut taken.next) {
        taking.deliver(taken, lined.position, lined.envelope, false);
    }
}

/// Makes room for reading on, when that has waited long enough: what is too much of a key
/// becomes its backlog. Whether there is room now.
pub(super) fn shed(taking: &mut Taking<'_>) -> bool {
    if taking
        .in_flight
        .turns()
        .full_until(taking.ask.now)
        .is_some()
    {
        return false;
    }
    let members = taking.in_flight.members().iter();
    let full: Vec<MemberId> = members
        .filter(|member| member.is_full())
        .map(LocalMember::id)
        .collect();
    for member in full {
        line_up(taking, member, None);
    }
    let (keys, keep) = taking.in_flight.turns().to_shed();
    for hash in keys {
        shed_line(taking, hash, keep);
    }
    let mut members = taking.in_flight.members().iter();
    !members.any(LocalMember::is_full) && taking.in_flight.turns().note_room()
}

/// What a line has beyond `keep` events becomes its key's backlog.
fn shed_line(taking: &mut Taking<'_>, hash: KeyHash, keep: usize) {
    for lined in taking.in_flight.turns().split_off(hash, keep) {
        let envelope = &lined.envelope;
        let key = KeyRef(envelope.topic(), envelope.key());
        taking
            .aside
            .start(taking.group.set_aside(), key, lined.position);
        taking.set_aside(lined.position, hash, envelope);
    }
}
