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
    pub(super) fn lost(&self, positions: &[Position]) -> bool {
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

    /// Events that are given out alone, among them whatever is looked for.
    pub(super) fn alone(&self) -> Alone<'_> {
        Alone(self.lock())
    }

    /// A handler has said what became of these.
    pub(super) fn clear(&self, positions: &[Position]) {
        let mut suspects = self.lock();
        if !suspects.is_empty() {
            for position in positions {
                suspects.remove(position);
            }
        }
    }
}

/// Which events are given out alone, as it is now.
pub(super) struct Alone<'a>(MutexGuard<'a, BTreeMap<Position, u32>>);

impl Alone<'_> {
    pub(super) fn has(&self, position: Position) -> bool {
        self.0.get(&position).is_some_and(|lost| *lost >= LOSSES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(positions: &[u64]) -> Vec<Position> {
        positions.iter().copied().map(Position::new).collect()
    }

    fn alone(suspects: &Suspects) -> Vec<u64> {
        let alone = suspects.alone();
        (0..10)
            .filter(|position| alone.has(Position::new(*position)))
            .collect()
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
