//! A group's runs through the log: a reset begins another one. What earlier runs have settled is
//! known as long as this one may meet it again.

use serde::{Deserialize, Serialize};

use super::ranges::Ranges;
use crate::engine::{Position, ReplayEffects, Run};

/// The run that a group is in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Runs {
    number: u64,
    /// What earlier runs have settled for good. Nothing before the group's floor counts.
    done: Ranges,
    holds_back: bool,
}

impl Runs {
    /// The first run, which the record at `position` begins.
    pub(super) fn first(position: u64) -> Self {
        Self {
            number: position,
            ..Self::default()
        }
    }

    /// Begins another run by the record at `position`; the one before settled `done`.
    pub(super) fn begin(&mut self, position: u64, done: &Ranges, effects: ReplayEffects) {
        // A copy of another log has numbers from there: positions alone could come twice.
        self.number = position.max(self.number + 1);
        for (start, end) in done.iter() {
            self.done.insert(start, end);
        }
        self.holds_back = effects == ReplayEffects::HoldBack;
    }

    /// What to know of the event at `position`.
    pub(super) fn of(&self, position: u64) -> Run {
        Run {
            number: self.number,
            holds_back: self.holds_back && self.done.contains(position),
        }
    }

    /// Forgets what earlier runs did once all of it lies before `floor`.
    pub(super) fn passed(&mut self, floor: impl FnOnce() -> u64) {
        if let Some(end) = self.done.end()
            && end <= floor()
        {
            self.done.clear();
        }
    }

    /// Up to where effects are held back, if any still are.
    pub(super) fn held_back_until(&self) -> Option<Position> {
        let end = self.done.end().filter(|_| self.holds_back);
        end.map(Position::new)
    }

    /// The positions that it names.
    pub(super) fn positions(&self) -> impl Iterator<Item = u64> {
        self.done.iter().flat_map(|(start, end)| [start, end])
    }

    /// The same in another log, where `at_or_after` says what a position became.
    pub(super) fn moved(&self, at_or_after: impl Fn(u64) -> u64) -> Self {
        let mut done = Ranges::default();
        for (start, end) in self.done.iter() {
            done.insert(at_or_after(start), at_or_after(end));
        }
        Self { done, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(ranges: &[(u64, u64)]) -> Ranges {
        let mut done = Ranges::default();
        for (start, end) in ranges {
            done.insert(*start, *end);
        }
        done
    }

    #[test]
    fn only_what_earlier_runs_settled_is_held_back() {
        let mut runs = Runs::first(3);
        assert_eq!(
            runs.of(5),
            Run {
                number: 3,
                holds_back: false
            }
        );
        runs.begin(20, &done(&[(0, 5), (6, 8)]), ReplayEffects::HoldBack);
        let held: Vec<u64> = (0..10).filter(|at| runs.of(*at).holds_back).collect();
        assert_eq!(held, [0, 1, 2, 3, 4, 6, 7]);
        assert_eq!(runs.held_back_until(), Some(Position::new(8)));

        // A second reset in the middle forgets nothing of the first.
        runs.begin(22, &done(&[(0, 2)]), ReplayEffects::Publish);
        assert!((0..10).all(|at| !runs.of(at).holds_back));
        runs.begin(23, &done(&[(0, 2)]), ReplayEffects::HoldBack);
        assert!(runs.of(7).holds_back && !runs.of(5).holds_back);

        runs.passed(|| 7);
        assert!(runs.of(6).holds_back);
        runs.passed(|| 8);
        assert_eq!(runs.held_back_until(), None);
    }

    #[test]
    fn no_two_runs_have_one_number() {
        let mut runs = Runs::first(500);
        runs.begin(40, &Ranges::default(), ReplayEffects::Publish);
        assert_eq!(runs.of(0).number, 501);
        runs.begin(900, &Ranges::default(), ReplayEffects::Publish);
        assert_eq!(runs.of(0).number, 900);
    }
}
