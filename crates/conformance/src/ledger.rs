//! The oracle of a storm: who holds what, what was settled and when, and whether all of it is as
//! the contract says.
//!
//! A commit is stamped when it begins, because what it releases may be in another member's hands
//! before it returns. One whose future was dropped is *in doubt*: its events come again or they do
//! not; both are right, but never both at once with a commit that was confirmed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::flaw::{Flaw, Verdict, ensure};
use super::labels::{label, number};
use ensue_core::engine::{Delivery, Position};

#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    stamp: u64,
    members: u64,
    stories: HashMap<String, Story>,
    held: HashMap<String, Vec<Holding>>,
    /// The process is being ended, one task after the other.
    is_dying: bool,
    flaw: Option<Flaw>,
}

/// What became of one event.
#[derive(Debug)]
struct Story {
    key: String,
    number: u64,
    confirmed: Vec<u64>,
    doubtful: Vec<u64>,
    /// The stamp under which it was given up.
    discarded: Option<u64>,
    failures: u32,
}

#[derive(Clone, Copy, Debug)]
struct Holding {
    member: u64,
    number: u64,
    position: Position,
}

impl Story {
    /// When it was settled or given up. A doubtful commit that was followed by another has not
    /// happened.
    fn end(&self) -> Option<u64> {
        self.confirmed.first().or(self.doubtful.last()).copied()
    }

    fn is_final(&self) -> bool {
        !self.confirmed.is_empty() || !self.doubtful.is_empty()
    }
}

impl Ledger {
    pub(super) fn expect<'a>(&self, events: impl IntoIterator<Item = &'a ensue_core::Envelope>) {
        let mut book = self.book();
        for event in events {
            let story = Story {
                key: event.key().to_owned(),
                number: number(event),
                confirmed: Vec::new(),
                doubtful: Vec::new(),
                discarded: None,
                failures: 0,
            };
            book.stories.insert(label(event), story);
        }
    }

    pub(super) fn new_member(&self) -> u64 {
        let mut book = self.book();
        book.members += 1;
        book.members
    }

    /// A member got an event. One that it will only hand back may be behind what another member is
    /// at by now: `is_handed_back` events do not count as held out of order.
    pub(super) fn took(&self, member: u64, taken: &Delivery, is_handed_back: bool) {
        let mut book = self.book();
        if book.is_dying {
            // A task that still runs may get what a task held that has ended: the ledger does not
            // learn of the latter.
            return;
        }
        let name = label(&taken.envelope);
        let number = number(&taken.envelope);
        let held = book.held.entry(taken.envelope.key().to_owned());
        let held = held.or_default();
        let rival = held
            .iter()
            .find(|other| other.member != member && other.number <= number)
            .copied();
        held.push(Holding {
            member,
            number,
            position: taken.position,
        });
        if let Some(rival) = rival.filter(|_| !is_handed_back) {
            book.accuse(Flaw::new(
                format_args!("{name} to wait while a member holds event {}", rival.number),
                "it is in the hands of another member",
            ));
        }
        let Some(story) = book.stories.get(&name) else {
            book.accuse(Flaw::new("only events that were published", name));
            return;
        };
        let (is_settled, failures) = (!story.confirmed.is_empty(), story.failures);
        if is_settled {
            book.accuse(Flaw::new(
                format_args!("{name} to be handled once"),
                "it was delivered after its commit had returned",
            ));
        }
        if taken.attempt <= failures {
            book.accuse(Flaw::new(
                format_args!("attempt {} or more of {name}", failures + 1),
                taken.attempt,
            ));
        }
    }

    /// A member lets go of events, or of everything.
    pub(super) fn release(&self, member: u64, positions: Option<&[Position]>) {
        let mut book = self.book();
        for held in book.held.values_mut() {
            held.retain(|holding| {
                holding.member != member
                    || positions.is_some_and(|some| !some.contains(&holding.position))
            });
        }
    }

    /// Everybody is gone.
    pub(super) fn release_all(&self) {
        let mut book = self.book();
        book.held.clear();
        book.is_dying = false;
    }

    /// The process begins to end: who holds what is not known until everybody has been released.
    pub(super) fn dies(&self) {
        self.book().is_dying = true;
    }

    /// These events are being settled; the stamp confirms or withdraws it.
    pub(super) fn begin(&self, events: &[String]) -> u64 {
        let mut book = self.book();
        book.stamp += 1;
        let stamp = book.stamp;
        for name in events {
            if let Some(story) = book.stories.get_mut(name) {
                story.doubtful.push(stamp);
            }
        }
        stamp
    }

    /// The commit with this stamp happened, or did not.
    pub(super) fn end(&self, stamp: u64, events: &[String], happened: bool) {
        let mut book = self.book();
        for name in events {
            if let Some(story) = book.stories.get_mut(name) {
                story.doubtful.retain(|doubtful| *doubtful != stamp);
                if happened {
                    story.confirmed.push(stamp);
                }
            }
        }
    }

    /// A failed attempt was committed.
    pub(super) fn failed(&self, name: &str) {
        if let Some(story) = self.book().stories.get_mut(name) {
            story.failures += 1;
        }
    }

    /// The event is about to start over.
    pub(super) fn redriven(&self, name: &str) {
        if let Some(story) = self.book().stories.get_mut(name) {
            story.failures = 0;
        }
    }

    /// The event is given up under this stamp: it has no effect.
    pub(super) fn discarded(&self, name: &str, stamp: u64) {
        if let Some(story) = self.book().stories.get_mut(name) {
            story.discarded = Some(stamp);
        }
    }

    /// Whether every event was settled, as far as is known.
    pub(super) fn is_final(&self) -> bool {
        let book = self.book();
        book.flaw.is_some() || book.stories.values().all(Story::is_final)
    }

    /// How many events are not settled yet, and some of them.
    pub(super) fn unfinished(&self) -> (usize, Vec<String>) {
        let book = self.book();
        let mut open: Vec<_> = book
            .stories
            .iter()
            .filter(|(_, story)| !story.is_final())
            .map(|(name, _)| name.clone())
            .collect();
        open.sort_unstable();
        let count = open.len();
        open.truncate(10);
        (count, open)
    }

    /// The first thing that was not right, if anything was.
    pub(super) fn accusation(&self) -> Verdict {
        self.book().flaw.take().map_or(Ok(()), Err)
    }

    /// Every event was settled once, and each key's in order.
    pub(super) fn judge(&self) -> Verdict {
        self.accusation()?;
        let book = self.book();
        let mut keys: BTreeMap<&str, BTreeMap<u64, u64>> = BTreeMap::new();
        for (name, story) in &book.stories {
            ensure(
                story.confirmed.len() <= 1 && story.is_final(),
                format_args!("{name} to be settled once"),
                format_args!("{} confirmed commits settle it", story.confirmed.len()),
            )?;
            if let Some(stamp) = story.end() {
                let stamps = keys.entry(&story.key).or_default();
                stamps.insert(story.number, stamp);
            }
        }
        for (key, stamps) in keys {
            let mut last = (0, 0);
            for (number, stamp) in stamps {
                ensure(
                    stamp >= last.1,
                    format_args!("{key}/{} to be settled before {key}/{number}", last.0),
                    format_args!("settled in commit {} and {stamp}", last.1),
                )?;
                last = (number, stamp);
            }
        }
        Ok(())
    }

    /// The events that must have had their effect.
    pub(super) fn effective(&self) -> Vec<String> {
        let book = self.book();
        let mut names: Vec<_> = book
            .stories
            .iter()
            .filter(|(_, story)| story.end() != story.discarded)
            .map(|(name, _)| name.clone())
            .collect();
        names.sort_unstable();
        names
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn accuse(&mut self, flaw: Flaw) {
        // The first flaw is the cause; the others follow from it.
        self.flaw.get_or_insert(flaw);
    }
}
