//! What the fold of a shared log takes from a process, and what it refuses: fencing.
//!
//! Every process decides the same, because a decision depends on nothing but the records before.

use super::change::Change;
use super::group::Group;
use super::record::Firing;
use super::refusal::Refusal;
use super::state::State;
use crate::engine::Position;
use crate::error::{EngineError, Error, Result};
use crate::ids::{FrameNumber, MemberId, ProcessId, WriterId};
use crate::time::Timestamp;

/// Clocks that differ by less are equal, in microseconds: what is compared was written a while
/// apart.
pub(crate) const SKEW_MAX: i64 = 5_000_000;

/// Whether a batch of the process `boot` with these control records, written at `time`, may
/// happen now.
pub(crate) fn admit_batch(
    state: &State,
    boot: ProcessId,
    time: i64,
    changes: &[&Change],
) -> Result<(), Refusal> {
    // A batch of events alone has nothing else that would say so.
    if changes.is_empty() {
        admit_beside_migration(state, boot)?;
    }
    changes
        .iter()
        .try_for_each(|change| admit(state, boot, time, change))
}

/// While another log is copied into this one, only the process that copies writes.
fn admit_beside_migration(state: &State, boot: ProcessId) -> Result<(), Refusal> {
    match state.unfinished_migration() {
        Some(migration) if migration.boot() != boot => {
            let from = migration.from().to_owned();
            Err(Refusal::Migrating { from })
        }
        _ => Ok(()),
    }
}

/// Whether the process may begin to copy another log into this one: only when it is alone.
fn admit_migration(state: &State, boot: ProcessId, named: ProcessId) -> Result<(), Refusal> {
    let others = state.processes().iter().filter(|(other, _)| *other != boot);
    let others: Vec<&str> = others.map(|(_, process)| process.name.as_str()).collect();
    let is_empty = state.migration().is_none() && state.holds_nothing();
    if named == boot && others.is_empty() && (is_empty || state.unfinished_migration().is_some()) {
        return Ok(());
    }
    let found = if others.is_empty() {
        "it holds something that was written meanwhile".to_owned()
    } else {
        others.join(", ")
    };
    Err(Refusal::NotAlone { found })
}

/// Whether a record of the process `boot` may happen now.
fn admit(state: &State, boot: ProcessId, time: i64, change: &Change) -> Result<(), Refusal> {
    if !matches!(
        change,
        Change::Opened(_) | Change::Gone(_) | Change::Migrating(_)
    ) {
        admit_beside_migration(state, boot)?;
    }
    match change {
        Change::Joined(joined) => {
            if joined.boot != boot {
                return Err(Refusal::Fenced(joined.group.clone()));
            }
            let last = state
                .groups()
                .get(&joined.group)
                .and_then(Group::last_member);
            if Some(joined.member) > last {
                Ok(())
            } else {
                Err(Refusal::Overtaken("a member joined the group"))
            }
        }
        Change::Committed(committed) => {
            admit_member(state, boot, &committed.group, committed.member)
        }
        Change::Begun(begun) => admit_member(state, boot, &begun.group, None),
        Change::Deleted(deleted) => admit_deletion(state, &deleted.group),
        Change::Redriven(it) => admit_dead(state, &it.group, &it.positions),
        Change::Discarded(it) => admit_dead(state, &it.group, &it.positions),
        Change::Reset(reset) if !state.groups().contains_key(&reset.group) => {
            Err(Refusal::Deleted(reset.group.clone()))
        }
        Change::Fired(fired) => admit_firings(state, &fired.events, time),
        Change::Gone(gone) => {
            let process = state.processes().get(gone.boot);
            let is_same = |counter: FrameNumber| process.is_some_and(|it| it.counter == counter);
            match gone.counter {
                None if gone.boot == boot => Ok(()),
                Some(counter) if is_same(counter) => Ok(()),
                _ => Err(Refusal::Overtaken("the process lives, or is gone already")),
            }
        }
        Change::Migrating(migrating) => admit_migration(state, boot, migrating.boot),
        Change::Restored(_) | Change::Migrated(_) => match state.unfinished_migration() {
            Some(_) => Ok(()),
            None => Err(Refusal::Overtaken("the migration is over")),
        },
        Change::Framed(_) => Err(Refusal::Corrupt(
            "a process sent a record that only the fold writes".to_owned(),
        )),
        Change::Left(_)
        | Change::Reset(_)
        | Change::Scheduled(_)
        | Change::Cancelled(_)
        | Change::Opened(_)
        | Change::Released(_) => Ok(()),
    }
}

/// Whether the process has this member in the group, or any.
fn admit_member(
    state: &State,
    boot: ProcessId,
    group: &str,
    member: Option<MemberId>,
) -> Result<(), Refusal> {
    let members = state.groups().get(group).map(Group::members);
    let is_in = members.is_some_and(|members| {
        let mut members = members.iter();
        members.any(|it| it.boot == boot && member.is_none_or(|member| it.id == member))
    });
    if is_in {
        Ok(())
    } else {
        Err(Refusal::Fenced(group.to_owned()))
    }
}

fn admit_deletion(state: &State, name: &str) -> Result<(), Refusal> {
    let members = state.groups().get(name).map(Group::members);
    let is_used = members.is_some_and(|members| {
        let mut members = members.iter();
        members.any(|member| state.processes().is_alive(member.boot))
    });
    if is_used {
        Err(Refusal::HasMembers(name.to_owned()))
    } else {
        Ok(())
    }
}

fn admit_dead(state: &State, name: &str, positions: &[Position]) -> Result<(), Refusal> {
    let lanes = state.groups().get(name).map(Group::set_aside);
    let is_dead = |position: &Position| lanes.is_some_and(|lanes| lanes.is_dead(*position));
    if positions.iter().all(is_dead) {
        Ok(())
    } else {
        Err(Refusal::Overtaken(
            "dead letters were redriven or discarded",
        ))
    }
}

/// Whether scheduled events may be appended: those that are pending, and not before their time.
fn admit_firings(state: &State, events: &[Firing], time: i64) -> Result<(), Refusal> {
    let latest = Timestamp::from_micros(time.saturating_add(SKEW_MAX));
    if events
        .iter()
        .all(|it| state.schedules().may_fire(it, latest))
    {
        Ok(())
    } else {
        Err(Refusal::Overtaken(
            "scheduled events were appended, moved or cancelled",
        ))
    }
}

/// The process that wrote a frame, if the frame counts: not when it came twice, when one
/// before it is missing (both will be sent again), or when its process is gone.
///
/// # Errors
/// [`EngineError::Corrupt`] when its process has sent the last frame that there can be.
pub(crate) fn admit_frame(
    state: &State,
    writer: WriterId,
    counter: FrameNumber,
    first: Option<&Change>,
    position: Position,
) -> Result<Option<ProcessId>> {
    let Some((boot, process)) = state.processes().of_writer(writer) else {
        let opens = matches!(first, Some(Change::Opened(opened)) if opened.writer == writer);
        // The record will be the next one.
        let admitted = (counter == FrameNumber::FIRST && opens).then_some(position);
        return Ok(admitted.map(|at| ProcessId::new(at.get())));
    };
    let Some(next) = process.counter.next() else {
        return Err(Error::Engine(EngineError::Corrupt(format!(
            "the process {boot} (`{}`) has sent frame {}, after which there is no other: frames are \
             numbered from 1; restore the log",
            process.name,
            process.counter.get()
        ))));
    };
    Ok((counter == next).then_some(boot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventId;
    use crate::model::record::{Fired, Framed, Opened, Scheduled};

    fn opened(writer: WriterId) -> Change {
        Change::Opened(Opened {
            writer,
            name: "process".to_owned(),
            lease_micros: 0,
            seal: None,
            follows: Vec::new(),
        })
    }

    #[test]
    fn a_process_that_has_sent_the_last_frame_there_can_be_is_corrupt() {
        let writer = WriterId::new(1, 2);
        let mut state = State::default();
        state.apply(Position::new(7), &opened(writer));
        let framed = |counter| {
            Change::Framed(Framed {
                writer,
                counter: FrameNumber::new(counter),
                sequence: 9,
                checksum: 0,
                resume: 10,
                time: 0,
                claimed: None,
            })
        };
        let last = FrameNumber::new(u64::MAX);
        state.apply(Position::new(8), &framed(u64::MAX - 1));
        let admitted = admit_frame(&state, writer, last, None, Position::new(9)).unwrap();
        assert_eq!(admitted, Some(ProcessId::new(7)));
        state.apply(Position::new(9), &framed(u64::MAX));
        let error = admit_frame(&state, writer, last, None, Position::new(10)).unwrap_err();
        assert!(
            matches!(&error, Error::Engine(EngineError::Corrupt(why)) if why.contains("process 7")),
            "it would be taken again and again: {error:?}"
        );
    }

    #[test]
    fn nothing_goes_off_before_its_time_and_nothing_that_was_moved() {
        let mut state = State::default();
        let writer = WriterId::new(1, 2);
        state.apply(Position::new(0), &opened(writer));
        let due = 3_600_000_000;
        let scheduled = Change::Scheduled(Scheduled {
            name: EventId::new("/", "timer"),
            is_timer: true,
            at: Timestamp::from_micros(due),
            topic_bytes: 0,
            key_bytes: 0,
            content: bytes::Bytes::new(),
        });
        state.apply(Position::new(1), &scheduled);
        let admits = |state: &State, position, time| {
            let fired = Change::Fired(Fired {
                events: vec![Firing {
                    name: EventId::new("/", "timer"),
                    position: Position::new(position),
                }],
            });
            admit_batch(state, ProcessId::new(0), time, &[&fired]).is_ok()
        };
        assert!(!admits(&state, 1, 0));
        assert!(!admits(&state, 1, due - SKEW_MAX - 1));
        assert!(admits(&state, 1, due), "it is its time");
        state.apply(Position::new(2), &scheduled);
        assert!(!admits(&state, 1, due), "it was moved");
        assert!(admits(&state, 2, due));
    }
}
