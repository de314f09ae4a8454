//! Which position of the source became which of the target, as far as groups name them.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Position;
use crate::error::{EngineError, Error, Result};
use crate::ids::ProcessId;
use crate::model::backlog::Backlog;
use crate::model::group::{Attempt, Group, JoinedMember, Moved};
use crate::model::position_set::PositionSet;
use crate::model::set_aside::SetAside;
use crate::model::state::State;

/// Set in the number of every process of the source: no process of the target has it, and those
/// that differed still do.
const ELSEWHERE: u64 = 1 << 63;
/// A position that nothing is at.
const NOWHERE: Position = Position::new(u64::MAX);

/// The positions that groups name, and where they are in the target.
#[derive(Debug)]
pub(super) struct Positions {
    /// In ascending order.
    wanted: Vec<Position>,
    /// For as many of them: the target's position of the first event at or after it, and whether
    /// the event is at that very position.
    found: Vec<(Position, bool)>,
    /// After the last event of the target.
    end: Position,
}

impl Positions {
    /// The positions that the groups of `state` name.
    pub(super) fn wanted_by(state: &State) -> Self {
        let mut wanted = BTreeSet::new();
        for group in state.groups().values() {
            wanted.insert(group.low());
            wanted.extend(group.settled().iter().flat_map(|(start, end)| [start, end]));
            wanted.extend(group.set_aside().items().map(|(position, _)| position));
            wanted.extend(group.set_aside().backlogs().iter().map(|(_, it)| it.from));
            wanted.extend(group.attempts().keys());
            wanted.extend(group.runs().positions());
            wanted.extend(group.members().iter().map(|member| member.low));
            wanted.extend(group.members().iter().filter_map(|it| it.retrying));
        }
        Self {
            wanted: wanted.into_iter().collect(),
            found: Vec::new(),
            end: Position::ZERO,
        }
    }

    /// The source's next event is at this position of the target.
    pub(super) fn met(&mut self, source: Position, target: Position) {
        self.end = target.next();
        while let Some(wanted) = self.wanted.get(self.found.len())
            && *wanted <= source
        {
            self.found.push((target, *wanted == source));
        }
    }

    /// The target's position of the first event at or after `position`, and whether there is one
    /// exactly there.
    fn find(&self, position: Position) -> Result<(Position, bool)> {
        let Ok(index) = self.wanted.binary_search(&position) else {
            return Err(Error::Engine(EngineError::Stopped(format!(
                "position {position} of the source is to be mapped and was not looked up; expected is \
                 one that a group names; this is a fault of Ensue, report it"
            ))));
        };
        // All after those that were found lie behind the last event.
        let found = self.found.get(index).copied();
        Ok(found.unwrap_or((self.end, false)))
    }

    fn at_or_after(&self, position: Position) -> Result<Position> {
        self.find(position).map(|(target, _)| target)
    }

    fn exactly(&self, name: &str, position: Position) -> Result<Position> {
        match self.find(position)? {
            (target, true) => Ok(target),
            _ => Err(Error::Engine(EngineError::Corrupt(format!(
                "the group `{name}` has put the event at position {position} aside, which is not \
                 there"
            )))),
        }
    }

    /// The groups, as they are in the target.
    pub(super) fn of_groups(&self, state: &State) -> Result<BTreeMap<String, Group>> {
        let groups = state.groups().iter();
        groups
            .map(|(name, group)| Ok((name.clone(), self.of_group(name, group)?)))
            .collect()
    }

    fn of_group(&self, name: &str, group: &Group) -> Result<Group> {
        let mut settled = PositionSet::default();
        for (start, end) in group.settled().iter() {
            settled.insert(self.at_or_after(start)?, self.at_or_after(end)?);
        }
        let low = settled.absorb(self.at_or_after(group.low())?);
        let mut lanes = SetAside::default();
        for (position, item) in group.set_aside().items() {
            lanes.insert(self.exactly(name, position)?, item.clone());
        }
        for (lane, backlog) in group.set_aside().backlogs().iter() {
            let from = self.at_or_after(backlog.from)?;
            lanes.set_backlog(lane.clone(), Backlog { from, ..backlog });
        }
        let mut begun = BTreeMap::new();
        for (position, attempt) in group.attempts() {
            let (position, is_there) = self.find(*position)?;
            let boot = elsewhere(attempt.boot);
            if is_there {
                begun.insert(position, Attempt { boot, ..*attempt });
            }
        }
        let first = group.set_aside().first_waiting();
        let first_here = lanes.first_waiting();
        let member = |member: &JoinedMember| JoinedMember {
            boot: elsewhere(member.boot),
            // All that counts is whether the group has moved since.
            low: if member.low == group.low() {
                low
            } else {
                NOWHERE
            },
            retrying: match member.retrying {
                Some(_) if member.retrying == first => first_here,
                Some(_) => Some(NOWHERE),
                None => None,
            },
            ..member.clone()
        };
        Ok(group.moved(Moved {
            low,
            settled,
            set_aside: lanes,
            members: group.members().iter().map(member).collect(),
            begun,
            runs: group.runs().moved(|position| self.at_or_after(position))?,
        }))
    }
}

/// A process of the log that is copied: none of this one has its number.
fn elsewhere(process: ProcessId) -> ProcessId {
    ProcessId::new(process.get() | ELSEWHERE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MemberId;
    use crate::model::item::{Item, State as Aside};
    use crate::model::record::CellWrite;
    use crate::model::topic_key::TopicKey;

    fn at(number: u64) -> Position {
        Position::new(number)
    }

    fn group() -> Group {
        let mut group = Group::new(at(4), at(0));
        let mut settled = PositionSet::default();
        settled.insert(at(8), at(10));
        let item = Item {
            lane: TopicKey::new("t", "k"),
            attempts: 3,
            redriven: 1,
            state: Aside::Parked,
        };
        group.add_item(at(3), item);
        let backlog = Backlog {
            from: at(6),
            events: 2,
        };
        group.add_backlog(TopicKey::new("t", "k"), backlog);
        group.add_cell(&CellWrite {
            topic: "t".into(),
            key: "k".into(),
            name: "n".into(),
            value: None,
        });
        let attempt = Attempt {
            number: 2,
            boot: ProcessId::new(7),
            is_together: false,
        };
        let member = |member, low| JoinedMember {
            id: MemberId::new(member).unwrap(),
            boot: ProcessId::new(7),
            low: at(low),
            retrying: None,
            is_proven: false,
        };
        group.moved(Moved {
            low: at(4),
            settled,
            set_aside: group.set_aside().clone(),
            members: vec![member(1, 4), member(2, 3)],
            begun: BTreeMap::from([(at(5), attempt)]),
            runs: group.runs().clone(),
        })
    }

    fn mapped(events: &[(u64, u64)]) -> Result<Group> {
        let mut state = State::default();
        *state.group_mut("g") = group();
        let mut positions = Positions::wanted_by(&state);
        for (source, target) in events {
            positions.met(at(*source), at(*target));
        }
        let mut groups = positions.of_groups(&state)?;
        Ok(groups.remove("g").unwrap())
    }

    #[test]
    fn a_group_means_the_same_events_elsewhere() {
        // Events at 3, 5, 8, 9 and 12: all others are control records.
        let group = mapped(&[(3, 0), (5, 1), (8, 3), (9, 4), (12, 6)]).unwrap();
        assert_eq!(group.low(), at(1), "before the event that was at 5");
        assert_eq!(group.settled().iter().collect::<Vec<_>>(), [(at(3), at(6))]);
        let aside: Vec<u64> = group
            .set_aside()
            .items()
            .map(|(position, _)| position.get())
            .collect();
        assert_eq!(aside, [0]);
        let backlog = group.set_aside().backlog(TopicKey::new("t", "k").as_ref());
        assert_eq!(
            backlog,
            Some(Backlog {
                from: at(3),
                events: 2
            })
        );
        assert_eq!(group.attempts()[&at(1)].number, 2);
        assert!(group.attempts()[&at(1)].boot.get() >= ELSEWHERE);
        let lows: Vec<Position> = group.members().iter().map(|it| it.low).collect();
        assert_eq!(
            lows,
            [at(1), NOWHERE],
            "one of both has seen the group move"
        );
    }

    #[test]
    fn the_end_is_after_the_last_event() {
        let group = mapped(&[(3, 10), (5, 11)]).unwrap();
        assert_eq!((group.low(), group.settled().is_empty()), (at(11), true));
        let group = mapped(&[(3, 10)]).unwrap();
        assert_eq!((group.low(), group.attempts().len()), (at(11), 0));
    }

    #[test]
    fn a_position_that_no_group_names_is_not_mapped_to_the_end() {
        let mut state = State::default();
        *state.group_mut("g") = group();
        let mut positions = Positions::wanted_by(&state);
        positions.met(at(3), at(0));
        assert_eq!(
            positions.at_or_after(at(6)).unwrap(),
            at(1),
            "after the last event"
        );
        let error = positions.at_or_after(at(7)).unwrap_err().to_string();
        assert!(error.contains("position 7"), "{error}");
    }

    #[test]
    fn an_event_that_was_put_aside_must_be_there() {
        let error = mapped(&[(5, 0)]).unwrap_err().to_string();
        assert!(error.contains("`g`") && error.contains('3'), "{error}");
    }
}
