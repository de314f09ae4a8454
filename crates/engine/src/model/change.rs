//! One control record of any kind, written and read. The table of the kinds is in [`record`](super::record).
//!
//! Another process may have written it: what it says is [checked](super::plausible) before anything is
//! folded.

use std::fmt;

use bytes::Bytes;
use ensue_log as log;
use serde::{Deserialize, Serialize};

use super::group::Group;
use super::plausible::{self, Implausible};
use super::record::{
    Begun, Cancelled, Committed, Deleted, Discarded, EVENT, Fired, Framed, Gone, Joined, Left,
    Migrated, Migrating, Opened, Redriven, Released, Reset, Scheduled,
};
use crate::engine::Position;
use crate::error::{EngineError, Error, Result};

const GROUPS: &str = "_ensue.groups";
const SCHEDULES: &str = "_ensue.schedules";
const PROCESSES: &str = "_ensue.processes";
const MIGRATION: &str = "_ensue.migration";
/// One thing that happened to a group or to the schedules. The engine's state is the fold of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Joined(Joined),
    Left(Left),
    Committed(Box<Committed>),
    Begun(Begun),
    Redriven(Redriven),
    Discarded(Discarded),
    Reset(Reset),
    Deleted(Deleted),
    Scheduled(Scheduled),
    Fired(Fired),
    Cancelled(Cancelled),
    Opened(Opened),
    Gone(Gone),
    Released(Released),
    Framed(Framed),
    Migrating(Migrating),
    Restored(Restored),
    Migrated(Migrated),
}

/// A part of a group that is copied from another log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Restored {
    pub(crate) group: String,
    /// Whether it replaces what is there of the group; otherwise it adds to it.
    pub(crate) is_first: bool,
    /// The group; of what is large (what it put aside, its state), a part.
    pub(crate) part: Box<Group>,
}

impl Change {
    /// The group that it concerns, if it concerns one.
    pub(crate) fn group(&self) -> Option<&str> {
        let (topic, group) = self.place();
        (topic == GROUPS).then_some(group)
    }

    /// The change as memory keeps it: its event is in the log.
    pub(crate) fn light(&self) -> Self {
        match self {
            Self::Scheduled(scheduled) => Self::Scheduled(Scheduled {
                name: scheduled.name.clone(),
                content: Bytes::new(),
                ..*scheduled
            }),
            other => other.clone(),
        }
    }

    /// The topic and the key of its record.
    fn place(&self) -> (&'static str, &str) {
        match self {
            Self::Scheduled(scheduled) => (SCHEDULES, scheduled.name.id()),
            Self::Fired(_) | Self::Cancelled(_) => (SCHEDULES, ""),
            Self::Opened(_) | Self::Gone(_) | Self::Framed(_) => (PROCESSES, ""),
            Self::Migrating(_) | Self::Migrated(_) => (MIGRATION, ""),
            Self::Committed(committed) => (GROUPS, &committed.group),
            Self::Joined(Joined { group, .. })
            | Self::Left(Left { group, .. })
            | Self::Begun(Begun { group, .. })
            | Self::Redriven(Redriven { group, .. })
            | Self::Discarded(Discarded { group, .. })
            | Self::Reset(Reset { group, .. })
            | Self::Deleted(Deleted { group, .. })
            | Self::Released(Released { group, .. })
            | Self::Restored(Restored { group, .. }) => (GROUPS, group),
        }
    }

    pub(crate) fn encode(&self) -> Result<(u8, Vec<u8>), rmp_serde::encode::Error> {
        use rmp_serde::to_vec_named as to;
        Ok(match self {
            Self::Joined(body) => (1, to(body)?),
            Self::Left(body) => (2, to(body)?),
            Self::Committed(body) => (3, to(body)?),
            Self::Begun(body) => (4, to(body)?),
            Self::Redriven(body) => (5, to(body)?),
            Self::Discarded(body) => (6, to(body)?),
            Self::Reset(body) => (7, to(body)?),
            Self::Deleted(body) => (8, to(body)?),
            Self::Scheduled(body) => (9, to(body)?),
            Self::Fired(body) => (10, to(body)?),
            Self::Cancelled(body) => (11, to(body)?),
            Self::Opened(body) => (12, to(body)?),
            Self::Gone(body) => (13, to(body)?),
            Self::Released(body) => (14, to(body)?),
            Self::Framed(body) => (15, to(body)?),
            Self::Migrating(body) => (16, to(body)?),
            Self::Restored(body) => (17, to(body)?),
            Self::Migrated(body) => (18, to(body)?),
        })
    }

    /// Adds the record to `batch`. What could not be read again is refused here: every process that folds
    /// the log would stop at it, and this one with its next start.
    pub(crate) fn push_to(&self, batch: &mut log::Batch) -> Result<()> {
        // Its own position is not known yet.
        let checked = self.check(Position::new(u64::MAX));
        checked.map_err(|why| EngineError::Encode {
            record: "a control record",
            reason: format!("it {why}"),
        })?;
        self.push_unchecked_to(batch)
    }

    /// As it is, whatever it says: what reads it is tested by this.
    pub(crate) fn push_unchecked_to(&self, batch: &mut log::Batch) -> Result<()> {
        let (kind, body) = self.encode().map_err(|error| EngineError::Encode {
            record: "a control record",
            reason: error.to_string(),
        })?;
        let (topic, key) = self.place();
        let (key, body) = (key.as_bytes(), body.as_slice());
        batch
            .push(&log::Record {
                kind,
                id: None,
                topic,
                key,
                body,
            })
            .map_err(crate::log_error::of_log)
    }

    /// Reads the control record at `position`; `None` for an event.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] names the position.
    pub(crate) fn read(kind: u8, position: Position, body: &[u8]) -> Result<Option<Self>> {
        Self::decode(kind, position, body).map_err(|why| {
            Error::Engine(EngineError::Corrupt(format!(
                "the control record at position {position} {why}"
            )))
        })
    }

    /// Reads a control record that is, or is going to be, at `position` at the latest; `None` for an
    /// event.
    pub(crate) fn decode(
        kind: u8,
        position: Position,
        body: &[u8],
    ) -> Result<Option<Self>, Unreadable> {
        use rmp_serde::from_slice as from;
        let change = match kind {
            EVENT => return Ok(None),
            1 => from(body).map(Self::Joined),
            2 => from(body).map(Self::Left),
            3 => from(body).map(|body| Self::Committed(Box::new(body))),
            4 => from(body).map(Self::Begun),
            5 => from(body).map(Self::Redriven),
            6 => from(body).map(Self::Discarded),
            7 => from(body).map(Self::Reset),
            8 => from(body).map(Self::Deleted),
            9 => from(body).map(Self::Scheduled),
            10 => from(body).map(Self::Fired),
            11 => from(body).map(Self::Cancelled),
            12 => from(body).map(Self::Opened),
            13 => from(body).map(Self::Gone),
            14 => from(body).map(Self::Released),
            15 => from(body).map(Self::Framed),
            16 => from(body).map(Self::Migrating),
            17 => from(body).map(Self::Restored),
            18 => from(body).map(Self::Migrated),
            kind => return Err(Unreadable::Kind(kind)),
        };
        let change = change.map_err(Unreadable::Body)?;
        change.check(position).map_err(Unreadable::Implausible)?;
        Ok(Some(change))
    }

    /// Refuses what cannot be.
    fn check(&self, position: Position) -> Result<(), Implausible> {
        match self {
            Self::Joined(it) => plausible::joined(it, position),
            Self::Committed(it) => plausible::committed(it, position),
            Self::Begun(it) => plausible::begun(it, position),
            Self::Redriven(it) => plausible::earlier("a dead letter", &it.positions, position),
            Self::Discarded(it) => plausible::earlier("a dead letter", &it.positions, position),
            Self::Reset(it) => plausible::not_after("the place of a reset", it.to, position),
            Self::Fired(it) => plausible::fired(it, position),
            Self::Framed(it) => plausible::framed(it),
            Self::Restored(it) => plausible::restored(&it.part, position),
            Self::Left(_)
            | Self::Deleted(_)
            | Self::Scheduled(_)
            | Self::Cancelled(_)
            | Self::Opened(_)
            | Self::Gone(_)
            | Self::Released(_)
            | Self::Migrating(_)
            | Self::Migrated(_) => Ok(()),
        }
    }
}

/// Why a control record cannot be read: the rest of a sentence that begins with where it is.
#[derive(Debug)]
pub(crate) enum Unreadable {
    Kind(u8),
    Body(rmp_serde::decode::Error),
    Implausible(Implausible),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(
                f,
                "has the kind {kind}, which this version does not know; was it written by a newer Ensue?"
            ),
            Self::Body(error) => write!(f, "cannot be decoded: {error}"),
            Self::Implausible(why) => write!(
                f,
                "cannot be true: it {why}. It was damaged before it was written, or something else than \
                 Ensue wrote it"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ReplayEffects, ReplayState};
    use crate::event::EventId;
    use crate::ids::{FrameNumber, MemberId, ProcessId, WriterId};
    use crate::model::backlog::Backlog;
    use crate::model::item::{Item, State};
    use crate::model::record::{Begin, CellWrite, Deferred, Firing, Retried};
    use crate::model::topic_key::TopicKey;
    use crate::time::Timestamp;

    #[test]
    fn control_records_are_read_as_written() {
        let change = Change::Committed(Box::new(Committed {
            group: "g".into(),
            member: Some(MemberId::FIRST),
            settled: [(3, 5), (9, 10)]
                .map(|(start, end)| (at(start), at(end)))
                .into_iter()
                .collect(),
            cells: vec![CellWrite {
                topic: "t".into(),
                key: "k".into(),
                name: "n".into(),
                value: Some(Bytes::from_static(b"\xff\x00")),
            }],
            ..Committed::default()
        }));
        let (kind, body) = change.encode().unwrap();
        assert_eq!(Change::read(kind, at(10), &body).unwrap(), Some(change));
        let error = Change::read(99, at(7), &body).unwrap_err().to_string();
        assert!(
            error.contains("position 7") && error.contains("99"),
            "{error}"
        );
        assert!(Change::read(1, at(7), b"\xc1").is_err());
    }

    fn at(number: u64) -> Position {
        Position::new(number)
    }

    fn group() -> String {
        "g".to_owned()
    }

    fn committed(change: impl FnOnce(&mut Committed)) -> Change {
        let mut committed = Committed {
            group: group(),
            ..Committed::default()
        };
        change(&mut committed);
        Change::Committed(Box::new(committed))
    }

    fn joined(member: u64, start: u64) -> Change {
        Change::Joined(Joined {
            group: group(),
            member: MemberId::new(member).unwrap(),
            boot: ProcessId::new(0),
            topics: Vec::new(),
            types: None,
            start: at(start),
        })
    }

    fn begun(position: u64, attempt: u32) -> Change {
        Change::Begun(Begun {
            group: group(),
            begins: vec![Begin {
                position: at(position),
                attempt,
            }],
            boot: ProcessId::new(0),
        })
    }

    fn retried(position: u64, attempt: u32) -> Change {
        committed(|it| {
            it.retries.push(Retried {
                position: at(position),
                topic: "t".into(),
                key: "k".into(),
                attempt,
                due: Timestamp::default(),
                reason: String::new(),
            });
        })
    }

    fn deferred(deferred: Deferred) -> Change {
        committed(|it| it.deferred.push(deferred))
    }

    fn framed(counter: u64, resume: u64) -> Change {
        Change::Framed(Framed {
            writer: WriterId::new(1, 2),
            counter: FrameNumber::new(counter),
            sequence: 30,
            checksum: 0,
            resume,
            time: 0,
            claimed: None,
        })
    }

    fn restored(position: u64, attempts: u32, from: u64) -> Change {
        let mut part = Group::new(at(0), at(0));
        let lane = TopicKey::new("t", "k");
        let item = Item {
            lane: lane.clone(),
            attempts,
            redriven: 0,
            state: State::Parked,
        };
        part.add_item(at(position), item);
        let from = at(from);
        part.add_backlog(lane, Backlog { from, events: 1 });
        Change::Restored(Restored {
            group: group(),
            is_first: true,
            part: Box::new(part),
        })
    }

    /// What is said at position 20, and the next thing that cannot be.
    fn possible_and_not() -> Vec<(Change, Change, &'static str)> {
        let list = |positions: Vec<u64>| Redriven {
            group: group(),
            positions: positions.into_iter().map(at).collect(),
            at: Timestamp::default(),
        };
        let reset = |to| {
            Change::Reset(Reset {
                group: group(),
                to: at(to),
                at: Timestamp::default(),
                effects: ReplayEffects::Publish,
                state: ReplayState::Keep,
            })
        };
        let fired = |position| {
            let name = EventId::new("/", "timer");
            let position = at(position);
            let events = vec![Firing { name, position }];
            Change::Fired(Fired { events })
        };
        let start = |start| Deferred {
            start: Some(at(start)),
            ..Deferred::default()
        };
        let added = |added| Deferred {
            added,
            ..Deferred::default()
        };
        let taken = |position| Deferred {
            taken: vec![at(position)],
            ..Deferred::default()
        };
        let next = |next| Deferred {
            next: Some(at(next)),
            ..Deferred::default()
        };
        let done = |position| committed(|it| it.done.push(at(position)));
        let settled = |end| committed(|it| it.settled.push(at(3), at(end)));
        vec![
            (joined(9, 20), joined(u64::MAX, 20), "member"),
            (joined(9, 20), joined(9, 21), "start"),
            (settled(20), settled(21), "settled"),
            (done(19), done(20), "put aside"),
            (retried(19, 1), retried(20, 1), "retried"),
            (retried(19, 1), retried(19, 0), "attempt"),
            (retried(19, 1), retried(19, u32::MAX), "attempt"),
            (deferred(start(19)), deferred(start(20)), "backlog"),
            (deferred(added(20)), deferred(added(21)), "backlog"),
            (deferred(taken(19)), deferred(taken(20)), "backlog"),
            (deferred(next(20)), deferred(next(21)), "backlog"),
            (begun(19, 1), begun(20, 1), "attempt"),
            (begun(19, 1), begun(19, 0), "attempt"),
            (
                Change::Redriven(list(vec![3, 19])),
                Change::Redriven(list(vec![3, 20])),
                "dead letter",
            ),
            (reset(20), reset(21), "reset"),
            (fired(19), fired(20), "scheduled"),
            (framed(1, 31), framed(0, 31), "frame"),
            (framed(1, 31), framed(1, 32), "message"),
            (restored(19, 3, 20), restored(20, 3, 20), "put aside"),
            (restored(19, 3, 20), restored(19, u32::MAX, 20), "attempt"),
            (restored(19, 3, 20), restored(19, 3, 21), "backlog"),
        ]
    }

    #[test]
    fn a_record_that_says_what_cannot_be_is_refused_with_its_position_and_what_was_expected() {
        for (possible, not, what) in possible_and_not() {
            let (kind, body) = possible.encode().unwrap();
            assert_eq!(Change::read(kind, at(20), &body).unwrap(), Some(possible));
            let (kind, body) = not.encode().unwrap();
            let error = Change::read(kind, at(20), &body);
            let error = error.expect_err(&format!("{not:?}"));
            let is_corrupt = matches!(error, Error::Engine(EngineError::Corrupt(_)));
            assert!(is_corrupt, "{not:?}: {error:?}");
            let error = error.to_string();
            for part in ["position 20", what, "expected"] {
                assert!(error.contains(part), "{part} of {not:?}: {error}");
            }
        }
    }
}
