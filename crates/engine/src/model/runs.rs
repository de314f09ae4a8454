//! A group's runs through the log: a reset begins another one. What earlier runs have settled is
//! known as long as this one may meet it again.

use serde::{Deserialize, Serialize};

use super::backlog::Backlogs;
use super::topic_key::{ByKey, by_key};
use crate::engine::{Position, ReplayEffects, Run};
use crate::error::Result;
use crate::model::position_set::PositionSet;
use crate::model::topic_key::KeyRef;

/// The run that a group is in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Runs {
    number: u64,
    /// What earlier runs have settled for good. Nothing before the group's floor counts.
    done: PositionSet,
    /// What of it none of them has handled.
    waiting: Waiting,
    holds_back: bool,
}

/// What counted as settled because it waited in the backlogs of keys: of each key, where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Waiting(#[serde(with = "by_key")] ByKey<PositionSet>);

impl Runs {
    /// The first run, which the record at `position` begins.
    pub(crate) fn first(position: Position) -> Self {
        Self {
            number: position.get(),
            ..Self::default()
        }
    }

    /// Begins another run by the record at `position`; the one before settled `done`, but for what
    /// waits in `backlogs`.
    pub(crate) fn begin(
        &mut self,
        position: Position,
        (done, backlogs): (&PositionSet, &Backlogs),
        effects: ReplayEffects,
    ) {
        self.waiting.add(&self.done, done, backlogs);
        // A copy of another log has numbers from there: positions alone could come twice.
        self.number = position.get().max(self.number + 1);
        for (start, end) in done.iter() {
            self.done.insert(start, end);
        }
        self.holds_back = effects == ReplayEffects::HoldBack;
    }

    /// The number of the run that it is in.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What to know of the event at `position`, which is of this key.
    pub(crate) fn of(&self, position: Position, lane: KeyRef<'_>) -> Run {
        let is_done = || self.done.contains(position) && !self.waiting.has(position, lane);
        Run {
            number: self.number,
            holds_back: self.holds_back && is_done(),
        }
    }

    /// Forgets what earlier runs did once all of it lies before the low-water mark and before the
    /// `first` event that was put aside, which takes a search.
    pub(crate) fn passed(&mut self, low: Position, first: impl FnOnce() -> Option<Position>) {
        if let Some(end) = self.done.end()
            && end <= low
            && first().is_none_or(|first| end <= first)
        {
            self.done.clear();
            self.waiting = Waiting::default();
        }
    }

    /// Up to where effects are held back, if any still are.
    pub(crate) fn held_back_until(&self) -> Option<Position> {
        self.done.end().filter(|_| self.holds_back)
    }

    /// The positions that it names.
    pub(crate) fn positions(&self) -> impl Iterator<Item = Position> {
        let all = self.waiting.0.values().chain([&self.done]);
        all.flat_map(|ranges| ranges.iter().flat_map(|(start, end)| [start, end]))
    }

    /// The same in another log, where `at_or_after` says what a position became.
    pub(crate) fn moved(&self, at_or_after: impl Fn(Position) -> Result<Position>) -> Result<Self> {
        let moved = |ranges: &PositionSet| {
            let mut moved = PositionSet::default();
            for (start, end) in ranges.iter() {
                moved.insert(at_or_after(start)?, at_or_after(end)?);
            }
            Result::<PositionSet>::Ok(moved)
        };
        let waiting = self.waiting.0.iter();
        let waiting = waiting.map(|(lane, ranges)| Ok((lane.clone(), moved(ranges)?)));
        Ok(Self {
            done: moved(&self.done)?,
            waiting: Waiting(waiting.collect::<Result<_>>()?),
            ..*self
        })
    }
}

impl Waiting {
    fn has(&self, position: Position, lane: KeyRef<'_>) -> bool {
        !self.0.is_empty() && (self.0.get(&lane)).is_some_and(|it| it.contains(position))
    }

    /// Takes in a run that settled `done`, but for what waits in `backlogs`; those before it settled
    /// `before`.
    fn add(&mut self, before: &PositionSet, done: &PositionSet, backlogs: &Backlogs) {
        self.0.retain(|lane, waiting| {
            *waiting = match backlogs.get(lane.as_ref()) {
                Some(backlog) => waiting.without(&done.before(backlog.from)),
                None => waiting.without(done),
            };
            !waiting.is_empty()
        });
        // A run that has settled nothing has passed no event of a backlog.
        let Some(end) = done.end() else { return };
        for (lane, backlog) in backlogs.iter() {
            let mut all = PositionSet::default();
            all.insert(backlog.from, end);
            let waiting = self.0.entry(lane.clone()).or_default();
            for (start, end) in all.without(before).iter() {
                waiting.insert(start, end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::backlog::Backlog;
    use crate::model::topic_key::TopicKey;

    const LANE: KeyRef<'_> = KeyRef("t", "k");

    fn at(number: u64) -> Position {
        Position::new(number)
    }

    fn of(runs: &Runs, position: u64) -> Run {
        runs.of(at(position), LANE)
    }

    fn begin(runs: &mut Runs, position: u64, done: &PositionSet, effects: ReplayEffects) {
        runs.begin(at(position), (done, &Backlogs::default()), effects);
    }

    fn done(ranges: &[(u64, u64)]) -> PositionSet {
        let mut done = PositionSet::default();
        for (start, end) in ranges {
            done.insert(at(*start), at(*end));
        }
        done
    }

    #[test]
    fn only_what_earlier_runs_settled_is_held_back() {
        let mut runs = Runs::first(at(3));
        assert_eq!(
            of(&runs, 5),
            Run {
                number: 3,
                holds_back: false
            }
        );
        begin(
            &mut runs,
            20,
            &done(&[(0, 5), (6, 8)]),
            ReplayEffects::HoldBack,
        );
        let held: Vec<u64> = (0..10).filter(|it| of(&runs, *it).holds_back).collect();
        assert_eq!(held, [0, 1, 2, 3, 4, 6, 7]);
        assert_eq!(runs.held_back_until(), Some(Position::new(8)));

        // A second reset in the middle forgets nothing of the first.
        begin(&mut runs, 22, &done(&[(0, 2)]), ReplayEffects::Publish);
        assert!((0..10).all(|it| !of(&runs, it).holds_back));
        begin(&mut runs, 23, &done(&[(0, 2)]), ReplayEffects::HoldBack);
        assert!(of(&runs, 7).holds_back && !of(&runs, 5).holds_back);

        runs.passed(at(7), || None);
        assert!(of(&runs, 6).holds_back);
        runs.passed(at(8), || Some(at(7)));
        assert!(of(&runs, 6).holds_back);
        runs.passed(at(8), || Some(at(8)));
        assert_eq!(runs.held_back_until(), None);
    }

    #[test]
    fn no_two_runs_have_one_number() {
        let mut runs = Runs::first(at(500));
        begin(
            &mut runs,
            40,
            &PositionSet::default(),
            ReplayEffects::Publish,
        );
        assert_eq!(of(&runs, 0).number, 501);
        begin(
            &mut runs,
            900,
            &PositionSet::default(),
            ReplayEffects::Publish,
        );
        assert_eq!(of(&runs, 0).number, 900);
    }

    /// What a run settled, and where the backlogs of two keys begin, if they have one.
    type Done = (Vec<(u64, u64)>, [Option<u64>; 2]);

    fn lane(position: u64) -> TopicKey {
        TopicKey::new("t", ["even", "odd"][position as usize % 2])
    }

    fn run() -> impl Strategy<Value = Done> {
        let done = proptest::collection::vec((0_u64..40, 0_u64..20), 0..4);
        (
            done,
            [
                proptest::option::of(0_u64..40),
                proptest::option::of(0_u64..40),
            ],
        )
    }

    proptest! {
        #[test]
        fn held_back_is_what_some_run_has_handled(all in proptest::collection::vec(run(), 1..5)) {
            let mut runs = Runs::default();
            let mut handled = [false; 80];
            for (pieces, begins) in &all {
                let (mut done, mut backlogs) = (PositionSet::default(), Backlogs::default());
                pieces.iter().for_each(|(start, length)| done.insert(at(*start), at(start + length)));
                for (key, from) in begins.iter().enumerate() {
                    if let Some(from) = *from {
                        backlogs.set(lane(key as u64), Backlog { from: at(from), events: 0 });
                    }
                }
                runs.begin(at(1), (&done, &backlogs), ReplayEffects::HoldBack);
                for position in 0..80 {
                    let begins = begins[position as usize % 2];
                    handled[position as usize] |=
                        done.contains(at(position)) && begins.is_none_or(|from| position < from);
                    let run = runs.of(at(position), lane(position).as_ref());
                    prop_assert_eq!(run.holds_back, handled[position as usize], "{}", position);
                }
                let bytes = rmp_serde::to_vec_named(&runs).unwrap();
                prop_assert_eq!(&rmp_serde::from_slice::<Runs>(&bytes).unwrap(), &runs);
                prop_assert_eq!(&runs.moved(Ok).unwrap(), &runs);
            }
        }
    }
}
