//! Taking what was put aside and may go now, lane by lane.

use super::key_hash::KeyHash;
use super::taking::{Stop, Taken, Taking};
use crate::engine::Position;
use crate::model::topic_key::TopicKey;

/// Takes what was put aside and may go now, the oldest first.
pub(super) fn take_aside(taking: &mut Taking<'_>, taken: &mut Taken) {
    let mut from = Position::ZERO;
    while let Some((at, lane)) = taking.index.runnable(from) {
        from = at.next();
        let hash = taking.ownership.hash_key(&lane);
        if taking.in_flight.owner(hash) != Some(taking.ask.member) {
            continue;
        }
        let max = taken.room();
        if max == 0 || taken.is_over() {
            break;
        }
        let in_hands = taking.in_flight.aside();
        let is_out = |position| in_hands.has(position);
        let set_aside = taking.group.set_aside();
        let mut positions = set_aside
            .deliverable(&lane, taking.ask.now, max, is_out)
            .now;
        let first = first_coming(taking, &lane, hash);
        positions.retain(|position| first.is_none_or(|first| *position < first));
        take_lane(taking, taken, (&lane, hash), positions);
        taking.refresh(&lane);
    }
    if taken.has_to_fetch() && !taken.has_stopped() {
        taken.stop(Stop::Fetch);
    }
}

/// The first event that may belong into a lane and is not there yet: nothing of the lane may
/// overtake it.
fn first_coming(taking: &Taking<'_>, lane: &TopicKey, hash: KeyHash) -> Option<Position> {
    let coming = taking.aside.first(lane);
    let outside = taking.in_flight.first_outside(hash);
    let all = [coming, outside, taking.ahead.unread()];
    all.into_iter().flatten().min()
}

fn take_lane(
    taking: &mut Taking<'_>,
    taken: &mut Taken,
    (lane, hash): (&TopicKey, KeyHash),
    positions: Vec<Position>,
) {
    let id = taking.ask.member;
    let mut is_fetching = false;
    for position in positions {
        if taken.is_over() {
            return;
        }
        if let Some(stop) = taking.hold_up(position, true, taken) {
            taken.stop(stop);
            return;
        }
        let fetched = if is_fetching {
            None
        } else {
            let fetched = taking.in_flight.take_fetched(id, position);
            fetched.or_else(|| taking.pages.take(position))
        };
        let Some(envelope) = fetched else {
            // What follows in the lane must not overtake it.
            is_fetching = true;
            let is_here = taking.in_flight.has_fetched(id, position) || taking.pages.has(position);
            if !is_here {
                taken.fetch([position]);
            }
            continue;
        };
        let bytes = envelope.content().len() as u32;
        taking
            .in_flight
            .hold_aside(id, position, (lane, hash), bytes);
        taking.deliver(taken, position, envelope, true);
    }
}
