//! Events that may be what ends the handlers that are given them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::Position;

/// How many handlers have to be lost with an event and others before it is given out alone: once is no
/// event's fault.
const LOSSES: u32 = 2;
/// How many events are remembered.
const SUSPECTS_MAX: usize = 4_096;

/// Events that handlers had when they were lost: shared by the consumers of a group in a process.
///
/// A handler that is lost with one event has tried that. Of a handler that is lost with several it is not
/// known which ended it, and none of them has had an attempt: those that handlers were lost with
/// again are given out one by one, until it is known.
///
/// Cloning gives the same.
#[derive(Clone, Debug, Default)]
pub struct Suspects(Arc<Mutex<BTreeMap<Position, u32>>>);

impl Suspects {
    /// Why an event is tried again that a handler was lost with.
    pub const REASON: &str = "its consumer was gone before it said what became of it";

    /// Whether there is no such event.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whether no consumer has them.
    pub fn is_unused(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Position, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handler was lost with these; whether it is known that it tried the only one.
    pub fn lost(&self, positions: &[Position]) -> bool {
        let losses = if positions.len() == 1 { LOSSES } else { 1 };
        let mut suspects = self.lock();
        for position in positions {
            if suspects.len() < SUSPECTS_MAX || suspects.contains_key(position) {
                let lost = suspects.entry(*position).or_default();
                *lost = lost.saturating_add(losses);
            }
        }
        positions.len() == 1
    }

    /// What may be given to a handler that has `given`, as it is now.
    pub fn gate(&self, given: impl IntoIterator<Item = Position>) -> Gate<'_> {
        let suspects = self.lock();
        let is_alone = |position: &Position| is_alone(&suspects, *position);
        let (mut has_something, mut is_shut) = (false, false);
        for position in given {
            has_something = true;
            is_shut |= is_alone(&position);
        }
        Gate {
            suspects,
            has_something,
            is_shut,
        }
    }

    /// A handler has said what became of these.
    pub fn clear(&self, positions: &[Position]) {
        let mut suspects = self.lock();
        if !suspects.is_empty() {
            for position in positions {
                suspects.remove(position);
            }
        }
    }
}

fn is_alone(suspects: &BTreeMap<Position, u32>, position: Position) -> bool {
    suspects.get(&position).is_some_and(|lost| *lost >= LOSSES)
}

/// Lets events through to a handler, one after the other: what is suspected when it has nothing else, and
/// nothing else before that has an outcome.
#[derive(Debug)]
pub struct Gate<'a> {
    suspects: MutexGuard<'a, BTreeMap<Position, u32>>,
    has_something: bool,
    is_shut: bool,
}

impl Gate<'_> {
    /// Whether the handler may be given this one, after those that were let through before. After one that
    /// may not be given, none may.
    pub fn lets(&mut self, position: Position) -> bool {
        if self.is_shut {
            return false;
        }
        self.is_shut = is_alone(&self.suspects, position);
        let lets = !self.is_shut || !self.has_something;
        self.has_something = true;
        lets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(positions: &[u64]) -> Vec<Position> {
        positions.iter().copied().map(Position::new).collect()
    }

    /// What is given out alone: nothing goes beside it.
    fn alone(suspects: &Suspects) -> Vec<u64> {
        let beside = Position::new(99);
        let is_alone = |position: &u64| !suspects.gate([beside]).lets(Position::new(*position));
        (0..10).filter(is_alone).collect()
    }

    /// What of `waiting` is given to a handler that has `given`.
    fn given(suspects: &Suspects, given: &[u64], waiting: &[u64]) -> Vec<u64> {
        let mut gate = suspects.gate(at(given));
        let mut waiting = waiting.to_vec();
        waiting.retain(|position| gate.lets(Position::new(*position)));
        waiting
    }

    #[test]
    fn what_is_given_alone_waits_for_the_rest_and_the_rest_for_it() {
        let suspects = Suspects::default();
        assert_eq!(given(&suspects, &[1], &[2, 3]), [2, 3]);
        assert!(suspects.lost(&at(&[3])));
        assert_eq!(given(&suspects, &[], &[2, 3, 4]), [2]);
        assert_eq!(given(&suspects, &[2], &[3, 4]), [0; 0]);
        assert_eq!(given(&suspects, &[], &[3, 4]), [3]);
        assert_eq!(given(&suspects, &[3], &[4]), [0; 0]);
        suspects.clear(&at(&[3]));
        assert_eq!(given(&suspects, &[], &[3, 4]), [3, 4]);
    }

    #[test]
    fn what_handlers_were_lost_with_twice_is_given_out_alone_until_it_has_an_outcome() {
        let suspects = Suspects::default();
        assert!(!suspects.lost(&at(&[1, 2, 3])));
        assert!(alone(&suspects).is_empty(), "once is no event's fault");
        suspects.clear(&at(&[3]));
        assert!(!suspects.lost(&at(&[2, 3, 4])));
        assert_eq!(alone(&suspects), [2]);
        suspects.clear(&at(&[1, 2, 3, 4, 9]));
        assert!(suspects.is_empty());
    }

    #[test]
    fn what_a_handler_was_lost_with_alone_stays_alone() {
        let suspects = Suspects::default();
        assert!(suspects.lost(&at(&[5])));
        assert_eq!(alone(&suspects), [5]);
        assert!(!suspects.lost(&[]));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let suspects = Suspects::default();
        let many: Vec<u64> = (0..2 * SUSPECTS_MAX as u64).collect();
        suspects.lost(&at(&many));
        suspects.lost(&at(&many));
        assert_eq!(suspects.lock().len(), SUSPECTS_MAX);
    }
}
