//! Taking what was read: from the queue of its key where that has one (`key_queues`).

use super::key_hash::KeyHash;
use super::local_member::LocalMember;
use super::ready_event::QueuedEvent;
use super::taking::{Stop, Taken, Taking};
use crate::ids::MemberId;
use crate::model::topic_key::KeyRef;

/// Takes what was read: by turns from the queues, and what has none.
pub(super) fn take_ready(taking: &mut Taking<'_>, taken: &mut Taken) {
    let (id, mut has_queues) = (taking.ask.member, true);
    while !taken.is_over() {
        let has_front = sort_front(taking, id, Some(&mut *taken));
        if taken.has_stopped() {
            return;
        }
        if has_queues && taking.in_flight.take_queue_turn(has_front) {
            has_queues = take_queued(taking, taken);
        } else if has_front {
            take_front(taking, taken);
        } else {
            return;
        }
    }
}

/// Takes away from the front of what was read for a member what is blocked and what has to
/// wait in a queue; whether there is something else.
fn sort_front(taking: &mut Taking<'_>, id: MemberId, mut taken: Option<&mut Taken>) -> bool {
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
        if !is_blocked && taken.is_some() && !taking.in_flight.needs_queue(id, hash, is_guarded) {
            return true;
        }
        let Some(queued) = taking.in_flight.pop(id) else {
            return false;
        };
        if is_blocked {
            taking.set_aside(position, hash, &queued.envelope);
        } else {
            taking.in_flight.push_queued(queued);
        }
    }
}

/// The first of what was read for the member is to be fetched, as far as it is not there.
fn want(taken: &mut Taken, member: &LocalMember) {
    taken.stop(Stop::Fetch);
    let missing = member.missing(taken.events_max());
    taken.fetch(missing);
}

/// Takes the first event of the next queue; whether there was one.
fn take_queued(taking: &mut Taking<'_>, taken: &mut Taken) -> bool {
    let Some(hash) = taking.in_flight.next_queue(taking.ask.member) else {
        return false;
    };
    while let Some(queued) = taking.in_flight.first_in_queue(hash) {
        let position = queued.position;
        let key = KeyRef(queued.envelope.topic(), queued.envelope.key());
        let is_blocked = taking.is_blocked(key, hash, position);
        if !is_blocked && let Some(stop) = taking.hold_up(position, false, taken) {
            taken.stop(stop);
            return true;
        }
        let Some(queued) = taking.in_flight.pop_queued(hash) else {
            return true;
        };
        if !is_blocked {
            hold(taking, taken, queued);
            return true;
        }
        taking.set_aside(position, hash, &queued.envelope);
    }
    true
}

/// Takes the first event of what has no queue.
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
    if let Some(queued) = taking.in_flight.pop(id) {
        hold(taking, taken, queued);
    }
}

/// An event that was read goes into the member's hands.
fn hold(taking: &mut Taking<'_>, taken: &mut Taken, queued: QueuedEvent) {
    let id = taking.ask.member;
    if taking.in_flight.hold(id, &queued, &mut taken.next) {
        taking.deliver(taken, queued.position, queued.envelope, false);
    }
}

/// Makes room for reading on, when that has waited long enough: what is too much of a key
/// becomes its backlog. Whether there is room now.
pub(super) fn shed(taking: &mut Taking<'_>) -> bool {
    if taking.in_flight.full_until(taking.ask.now).is_some() {
        return false;
    }
    let members = taking.in_flight.members().iter();
    let full: Vec<MemberId> = members
        .filter(|member| member.is_full())
        .map(LocalMember::id)
        .collect();
    for member in full {
        sort_front(taking, member, None);
    }
    let (keys, keep) = taking.in_flight.to_shed();
    for hash in keys {
        shed_queue(taking, hash, keep);
    }
    taking.in_flight.note_room()
}

/// What a queue has beyond `keep` events becomes its key's backlog.
fn shed_queue(taking: &mut Taking<'_>, hash: KeyHash, keep: usize) {
    for queued in taking.in_flight.shed(hash, keep) {
        let envelope = &queued.envelope;
        let key = KeyRef(envelope.topic(), envelope.key());
        taking
            .aside
            .start(taking.group.set_aside(), key, queued.position);
        taking.set_aside(queued.position, hash, envelope);
    }
}
