//! Taking up a key's backlog: its next events are read from the log and go into its lane, which
//! has run empty.

use super::aside::Aside;
use super::pages::{Found, Paging};
use super::taking::Taking;
use crate::engine::Position;
use crate::model::topic_key::TopicKey;

/// The backlog whose next events the member is to read, if it is time for that.
pub(super) fn next_page(taking: &mut Taking<'_>) -> Option<Paging> {
    if !taking.index.is_any_hungry() || !taking.pages.take_turn() || taking.ahead.unread().is_some()
    {
        return None;
    }
    while let Some(paging) = next_lane(taking) {
        taking.pages.begin(&paging);
        if paging.from < paging.to {
            return Some(paging);
        }
        // Nothing of the key has come since the last read. From now on its backlog is moving, so
        // that it is not found again.
        taking
            .aside
            .take_up(&paging.lane, Vec::new(), paging.to, true);
    }
    None
}

/// The next of the keys, by turns, of whose backlog something can be read, or which is over.
fn next_lane(taking: &Taking<'_>) -> Option<Paging> {
    let mut lanes = taking.index.hungry(taking.pages.last());
    lanes.find_map(|lane| page_of(taking, lane))
}

/// What is to be read of one key's backlog, if anything can be.
fn page_of(taking: &Taking<'_>, lane: &TopicKey) -> Option<Paging> {
    let (hash, set_aside) = (taking.ownership.hash_key(lane), taking.group.set_aside());
    let owner = taking.in_flight.owner(hash)?;
    // Everything of the key that was read before comes first.
    if owner != taking.ask.member
        || !taking.in_flight.is_clear(hash)
        || taking.aside.is_moving(lane.as_ref())
    {
        return None;
    }
    let kept = set_aside.len();
    // There may be less room than when it was found hungry.
    if !set_aside.wants_more(lane, taking.limits.few(kept)) {
        return None;
    }
    let from = set_aside.backlog(lane.as_ref())?.from;
    let ready = taking.in_flight.member(owner)?.front();
    let ready = ready.map(|ready| ready.position);
    let coming = taking.aside.first(lane);
    let (cursor, replayed) = (taking.ahead.cursor(), taking.ahead.replayed());
    let to = [ready, coming].into_iter().flatten().min();
    let to = to.unwrap_or(cursor).min(cursor);
    let is_more = to > from;
    let is_over = to == from && to == cursor && is_all(taking.aside, replayed, lane, to);
    (is_more || is_over).then(|| Paging {
        token: taking.ahead.token(),
        lane: lane.clone(),
        from,
        to,
        events_max: taking.limits.page(kept),
    })
}

/// Whether nothing of a key's backlog lies at or after `position`.
fn is_all(aside: &Aside, replayed: Position, lane: &TopicKey, position: Position) -> bool {
    let end = aside.end_of(lane).unwrap_or(replayed);
    position >= end && aside.first(lane).is_none()
}

/// Takes the page that was read up: its events go from the key's backlog into its lane.
pub(super) fn take_up(aside: &mut Aside, replayed: Position, lane: &TopicKey, found: &Found) {
    let taken = found.events.iter().map(|(position, _)| *position).collect();
    let is_over = is_all(aside, replayed, lane, found.next);
    aside.take_up(lane, taken, found.next, is_over);
}
