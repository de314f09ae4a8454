//! Events that may end the processes that handle them, in a server that outlives those.
//!
//! The engine itself counts what ends its own process. A client that was killed ends only its own: here it is
//! a member that did not come back. Once is no event's fault; when it happens again and nothing was done
//! meanwhile, the events that were out both times are handed out one by one, and what was out alone when
//! a client ended has had an attempt.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ensue::Position;

/// How many groups are watched, and how many events of each.
const GROUPS_MAX: usize = 1_024;
const SUSPECTS_MAX: usize = 4_096;
/// How many members of a group have to end in a row, without having done anything.
const LOSSES: u32 = 2;
/// How many other events may come one by one before those that are waited for are taken to be gone.
const OTHERS_MAX: usize = 1_024;

/// The groups whose members ended.
#[derive(Debug, Default)]
pub(super) struct Suspects(Mutex<HashMap<String, Suspicion>>);

#[derive(Debug, Default)]
struct Suspicion {
    losses: u32,
    events: BTreeSet<Position>,
    /// Attempts that ended their process.
    attempts: BTreeMap<Position, u32>,
    others: usize,
}

impl Suspicion {
    fn is_careful(&self) -> bool {
        self.losses >= LOSSES
    }
}

impl Suspects {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Suspicion>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A member of the group ended without a word, with these events in its hands.
    pub(super) fn lost(&self, group: &str, in_hand: &[Position], has_progressed: bool) {
        if in_hand.is_empty() {
            return;
        }
        let mut groups = self.lock();
        if groups.len() >= GROUPS_MAX && !groups.contains_key(group) {
            return;
        }
        let suspicion = groups.entry(group.to_owned()).or_default();
        if suspicion.is_careful() {
            if let [alone] = in_hand {
                *suspicion.attempts.entry(*alone).or_default() += 1;
            }
            return;
        }
        if has_progressed {
            groups.remove(group);
            return;
        }
        suspicion.losses += 1;
        let out: BTreeSet<_> = in_hand.iter().copied().take(SUSPECTS_MAX).collect();
        let both: BTreeSet<_> = suspicion.events.intersection(&out).copied().collect();
        suspicion.events = if both.is_empty() { out } else { both };
        if suspicion.is_careful() {
            let events = suspicion.events.len();
            tracing::warn!(
                group,
                events,
                "members end without a word: events are handed out one by one"
            );
        }
    }

    /// Whether events of the group are handed out one by one.
    pub(super) fn is_careful(&self, group: &str) -> bool {
        self.lock().get(group).is_some_and(Suspicion::is_careful)
    }

    /// The event is handed out: how many attempts at it ended their process.
    pub(super) fn hand_out(&self, group: &str, position: Position) -> u32 {
        let mut groups = self.lock();
        let Some(suspicion) = groups.get_mut(group) else {
            return 0;
        };
        let attempts = suspicion.attempts.get(&position).copied().unwrap_or(0);
        if suspicion.is_careful() && !suspicion.events.contains(&position) {
            suspicion.others += 1;
            if suspicion.others > OTHERS_MAX {
                groups.remove(group);
            }
        }
        attempts
    }

    /// The events have an outcome.
    pub(super) fn done(&self, group: &str, positions: &[Position]) {
        let mut groups = self.lock();
        let Some(suspicion) = groups.get_mut(group) else {
            return;
        };
        for position in positions {
            suspicion.events.remove(position);
            suspicion.attempts.remove(position);
        }
        if suspicion.events.is_empty() || !suspicion.is_careful() {
            groups.remove(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(positions: &[u64]) -> Vec<Position> {
        positions.iter().copied().map(Position::new).collect()
    }

    #[test]
    fn a_member_that_ended_once_or_had_done_something_is_no_reason_for_care() {
        let suspects = Suspects::default();
        suspects.lost("g", &at(&[1, 2]), false);
        assert!(!suspects.is_careful("g"));
        suspects.lost("g", &at(&[2, 3]), true);
        suspects.lost("g", &at(&[2, 3]), false);
        assert!(!suspects.is_careful("g"));
        suspects.lost("g", &[], false);
        suspects.lost("h", &at(&[2]), false);
        assert!(!suspects.is_careful("g") && !suspects.is_careful("h"));
        suspects.done("g", &at(&[9]));
        suspects.lost("g", &at(&[2]), false);
        assert!(!suspects.is_careful("g"), "something was done meanwhile");
    }

    #[test]
    fn what_was_out_alone_when_its_member_ended_has_had_an_attempt() {
        let suspects = Suspects::default();
        suspects.lost("g", &at(&[1, 2, 3]), false);
        suspects.lost("g", &at(&[2, 3, 4]), false);
        assert!(suspects.is_careful("g"));
        assert_eq!(suspects.hand_out("g", Position::new(2)), 0);
        suspects.done("g", &at(&[2]));
        assert!(suspects.is_careful("g"), "one of the two is left");
        for attempts in 1..4 {
            suspects.lost("g", &at(&[3]), true);
            assert_eq!(suspects.hand_out("g", Position::new(3)), attempts);
        }
        assert_eq!(suspects.hand_out("g", Position::new(4)), 0);
        suspects.done("g", &at(&[3]));
        assert!(!suspects.is_careful("g"));
        assert_eq!(suspects.hand_out("g", Position::new(3)), 0);
    }

    #[test]
    fn care_ends_when_what_is_waited_for_does_not_come() {
        let suspects = Suspects::default();
        suspects.lost("g", &at(&[1]), false);
        suspects.lost("g", &at(&[1]), false);
        for position in 0..=OTHERS_MAX as u64 {
            suspects.hand_out("g", Position::new(10 + position));
        }
        assert!(!suspects.is_careful("g"));
        assert!(suspects.lock().is_empty());
    }
}
