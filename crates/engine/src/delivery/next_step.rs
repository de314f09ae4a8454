//! What a member does next. Decides only; what touches the log happens outside.

use super::local_member::{LocalMember, Waiting};
use super::pages::Paging;
use super::read_ahead::Reading;
use super::take_aside::take_aside;
use super::take_backlog::next_page;
use super::take_ready::{shed, take_ready};
use super::taking::{Outcome, Taken, Taking};
use crate::engine::{Delivery, Position};
use crate::model::record::Begin;
use crate::time::Timestamp;

/// What the member is to do.
#[derive(Debug)]
pub(crate) enum Step {
    /// Return these.
    Deliver(Vec<Delivery>),
    /// Fetch these events by position, then ask again.
    Fetch(Vec<Position>),
    /// Record that these attempts begin, then ask again.
    Begin(Vec<Begin>),
    /// Read on, then ask again.
    Read(Reading),
    /// Read what is next of a key's backlog, then ask again.
    Page(Paging),
    Wait {
        /// For this time.
        due: Option<Timestamp>,
        /// For records at or after this position.
        records: Option<Position>,
    },
}

/// What the member that asks, which is one, is to do next.
pub(super) fn next_step(mut taking: Taking<'_>) -> Step {
    let step = choose(&mut taking);
    let waiting = match step {
        Step::Wait { due, records } => Some(Waiting { due, records }),
        _ => None,
    };
    taking.in_flight.set_waiting(taking.ask.member, waiting);
    step
}

fn choose(taking: &mut Taking<'_>) -> Step {
    let ask = taking.ask;
    let free = taking.in_flight.member(ask.member).map(LocalMember::free);
    let (events, bytes) = free.unwrap_or_default();
    let room = events.min(ask.events_max);
    if room == 0 || bytes == 0 {
        // Whatever falls due meanwhile has to wait as well.
        return Step::Wait {
            due: None,
            records: None,
        };
    }
    let parts = (taking.ownership, taking.in_flight.aside());
    taking
        .index
        .refresh_due(taking.group.set_aside(), parts, ask.now);
    if let Some(paging) = next_page(taking) {
        return Step::Page(paging);
    }
    let member = taking.in_flight.member(ask.member);
    let is_empty = member.is_none_or(|member| !member.has_ready());
    if is_empty
        && taking.in_flight.take_reading_turn()
        && let Some(reading) = read_on(taking)
    {
        return Step::Read(reading);
    }
    let mut taken = Taken::new(room, bytes);
    take_aside(taking, &mut taken);
    take_ready(taking, &mut taken);
    match taken.outcome() {
        Outcome::Deliver(deliveries) => Step::Deliver(deliveries),
        Outcome::Fetch(positions) => Step::Fetch(positions),
        Outcome::Begin(begins) => Step::Begin(begins),
        Outcome::Wait => Step::Wait {
            due: taking.index.next_due(),
            records: None,
        },
        Outcome::Nothing => read_or_wait(taking),
    }
}

fn read_or_wait(taking: &mut Taking<'_>) -> Step {
    if let Some(paging) = next_page(taking) {
        return Step::Page(paging);
    }
    if let Some(reading) = read_on(taking) {
        return Step::Read(reading);
    }
    let full_until = taking.in_flight.full_until(taking.ask.now);
    let due = taking.index.next_due();
    Step::Wait {
        due: due.into_iter().chain(full_until).min(),
        records: taking.ahead.awaited(taking.ask.end),
    }
}

/// The next read, if one is possible: none is under way, there is something, and there is room.
fn read_on(taking: &mut Taking<'_>) -> Option<Reading> {
    if !taking.ahead.can_read(taking.ask.end) {
        return None;
    }
    // What was at work before has to be known first: it holds up what was put aside.
    let keys = taking.group.set_aside().keys_waiting();
    if taking.ahead.unread().is_none() && !taking.ahead.pause_beyond(keys, taking.limits.parked_max)
    {
        return None;
    }
    let now = taking.ask.now;
    if taking.in_flight.note_full(now) && !shed(taking) {
        return None;
    }
    Some(taking.ahead.begin())
}
