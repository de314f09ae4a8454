//! What control records cannot say: where several processes share a log, others wrote them. What is
//! refused here would be folded into something that is wrong everywhere, or would overflow.
//!
//! A record knows only what is before it. So every position in it is before its own, and a range or a
//! place to go on from ends there at the latest.

use std::fmt;

use super::group::Group;
use super::record::{Begun, Committed, Deferred, Fired, Framed, Joined};
use crate::engine::{ATTEMPT_MAX, Position};

/// More than there can be of anything that is counted: what is added to it never overflows.
const COUNT_MAX: u64 = 1 << 62;

/// What a record says that cannot be: the rest of a sentence that begins with the record.
#[derive(Debug)]
pub(crate) struct Implausible {
    what: &'static str,
    found: u64,
    expected: Expected,
}

#[derive(Debug)]
enum Expected {
    AtMost(u64),
    AtLeast(u64),
    Nothing,
}

impl fmt::Display for Implausible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, found, .. } = self;
        write!(f, "gives {found} for {what}; expected is ")?;
        match self.expected {
            Expected::AtMost(most) => write!(f, "{most} at most"),
            Expected::AtLeast(least) => write!(f, "{least} at least"),
            Expected::Nothing => write!(f, "nothing"),
        }
    }
}

/// Refuses a place to go on from that comes after `position`.
pub(crate) fn not_after(
    what: &'static str,
    found: Position,
    position: Position,
) -> Result<(), Implausible> {
    at_most(what, found.get(), position.get())
}

fn at_most(what: &'static str, found: u64, most: u64) -> Result<(), Implausible> {
    if found <= most {
        return Ok(());
    }
    let expected = Expected::AtMost(most);
    Err(Implausible {
        what,
        found,
        expected,
    })
}

fn at_least(what: &'static str, found: u64, least: u64) -> Result<(), Implausible> {
    if found >= least {
        return Ok(());
    }
    let expected = Expected::AtLeast(least);
    Err(Implausible {
        what,
        found,
        expected,
    })
}

fn nothing(what: &'static str, found: usize) -> Result<(), Implausible> {
    if found == 0 {
        return Ok(());
    }
    let (found, expected) = (found as u64, Expected::Nothing);
    Err(Implausible {
        what,
        found,
        expected,
    })
}

/// Refuses what is not before `position`: the position of `what`.
fn before(what: &'static str, found: Position, position: Position) -> Result<(), Implausible> {
    let Some(most) = position.get().checked_sub(1) else {
        // Nothing is before the first record.
        return nothing("events that it names", 1);
    };
    at_most(what, found.get(), most)
}

/// Refuses positions that are not before `position`.
pub(crate) fn earlier(
    what: &'static str,
    found: &[Position],
    position: Position,
) -> Result<(), Implausible> {
    let mut found = found.iter();
    found.try_for_each(|found| before(what, *found, position))
}

/// The number of an attempt: they count from one, and there is a next one.
fn attempt(number: u32) -> Result<(), Implausible> {
    at_least("the number of an attempt", number.into(), 1)?;
    attempts(number)
}

fn attempts(number: u32) -> Result<(), Implausible> {
    at_most(
        "the number of an attempt",
        number.into(),
        ATTEMPT_MAX.into(),
    )
}

pub(crate) fn joined(joined: &Joined, position: Position) -> Result<(), Implausible> {
    at_most("the number of a member", joined.member.get(), COUNT_MAX)?;
    not_after("the start of a group", joined.start, position)
}

pub(crate) fn committed(committed: &Committed, position: Position) -> Result<(), Implausible> {
    for (_, end) in committed.settled.iter() {
        not_after("the end of what is settled", end, position)?;
    }
    earlier("an event that was put aside", &committed.done, position)?;
    for retried in &committed.retries {
        before("an event that is retried", retried.position, position)?;
        attempt(retried.attempt)?;
    }
    for parked in &committed.parked {
        before("an event that is parked", parked.position, position)?;
    }
    for died in &committed.dead {
        before("a dead letter", died.position, position)?;
        attempts(died.attempts)?;
    }
    let mut deferred = committed.deferred.iter();
    deferred.try_for_each(|it| self::deferred(it, position))
}

fn deferred(deferred: &Deferred, position: Position) -> Result<(), Implausible> {
    if let Some(start) = deferred.start {
        before("the start of a backlog", start, position)?;
    }
    at_most("the events of a backlog", deferred.added, position.get())?;
    earlier("an event of a backlog", &deferred.taken, position)?;
    match deferred.next {
        Some(next) => not_after("where a backlog goes on", next, position),
        None => Ok(()),
    }
}

pub(crate) fn begun(begun: &Begun, position: Position) -> Result<(), Implausible> {
    for begin in &begun.begins {
        before("an event whose attempt begins", begin.position, position)?;
        attempt(begin.attempt)?;
    }
    Ok(())
}

pub(crate) fn fired(fired: &Fired, position: Position) -> Result<(), Implausible> {
    let mut events = fired.events.iter();
    events.try_for_each(|it| before("a scheduled event", it.position, position))
}

pub(crate) fn framed(framed: &Framed) -> Result<(), Implausible> {
    at_least("the number of a frame", framed.counter.get(), 1)?;
    at_most("the number of a frame", framed.counter.get(), COUNT_MAX)?;
    let next = framed.sequence.saturating_add(1);
    at_most("the message to read on from", framed.resume, next)
}

/// A part of a group of another log, with the positions of this one.
pub(crate) fn restored(part: &Group, position: Position) -> Result<(), Implausible> {
    not_after("the low-water mark of a group", part.low(), position)?;
    not_after("the end of what is settled", part.settled_end(), position)?;
    at_most("the count of outcomes", part.generation(), COUNT_MAX)?;
    at_most("the number of a run", part.runs().number(), COUNT_MAX)?;
    let member = part.last_member().map_or(0, |it| it.get());
    at_most("the number of a member", member, COUNT_MAX)?;
    nothing("slots that processes own", part.slot_owners().len())?;
    for (at, item) in part.set_aside().items() {
        before("an event that was put aside", at, position)?;
        attempts(item.attempts)?;
        attempts(item.redriven)?;
    }
    for (_, backlog) in part.set_aside().backlogs().iter() {
        not_after("the start of a backlog", backlog.from, position)?;
        at_most("the events of a backlog", backlog.events, COUNT_MAX)?;
    }
    for (at, begun) in part.attempts() {
        before("an event whose attempt began", *at, position)?;
        attempts(begun.number)?;
        let least = u64::from(!begun.is_together);
        at_least("the number of an attempt", begun.number.into(), least)?;
    }
    Ok(())
}
