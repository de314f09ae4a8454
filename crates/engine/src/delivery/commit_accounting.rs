//! A member's commit: which of its events it may settle, and the record that says so.

use super::in_flight::{Claimed, InFlight};
use crate::engine::{Commit, Death, OnDead, Position, Retry, StateWrite};
use crate::event::Envelope;
use crate::ids::MemberId;
use crate::model::group::Group;
use crate::model::position_set::Settled;
use crate::model::record;
use crate::model::record::{CellWrite, Committed, Died, Parked, Retried};
use crate::time::Timestamp;

/// A commit claims an event that is not its member's.
#[derive(Debug)]
pub(crate) struct NotHeld;

/// The events that a commit has claimed so far.
#[derive(Default)]
struct Claims {
    settled: Settled,
    aside: Vec<Position>,
    next: usize,
}

/// Claims the events of `commit` for a record of the group `name`, all or none. What dies when the group
/// keeps `parked_max` events blocks its key.
pub(super) fn claim(
    in_flight: &mut InFlight,
    (name, group): (&str, &Group),
    member: MemberId,
    commit: &Commit,
    (now, parked_max): (Timestamp, usize),
) -> Result<Committed, NotHeld> {
    let mut claims = Claims::default();
    let done = claims.claim_all(in_flight, member, commit);
    claims.settled.normalise();
    let done = match done {
        Ok(done) => done,
        Err(not_held) => {
            in_flight.unclaim(&claims.settled, claims.aside.into_iter());
            return Err(not_held);
        }
    };
    let parked = commit.parked.iter();
    Ok(Committed {
        group: name.to_owned(),
        member: Some(member),
        at: now,
        settled: claims.settled,
        done,
        retries: commit.retries.iter().map(Retried::from).collect(),
        parked: parked
            .map(|it| parked_of(&it.envelope, it.position))
            .collect(),
        dead: died(commit, group.set_aside().len(), parked_max),
        cells: commit.state.iter().map(CellWrite::from).collect(),
        deferred: Vec::new(),
    })
}

impl Claims {
    /// Claims all events of the commit; those that were put aside and are done.
    fn claim_all(
        &mut self,
        in_flight: &mut InFlight,
        member: MemberId,
        commit: &Commit,
    ) -> Result<Vec<Position>, NotHeld> {
        let mut done = Vec::new();
        for position in &commit.settled {
            if self.claim(in_flight, member, *position)? {
                done.push(*position);
            }
        }
        let others = (commit.retries.iter().map(|retry| retry.position))
            .chain(commit.parked.iter().map(|parked| parked.position))
            .chain(commit.dead.iter().map(|dead| dead.position));
        for position in others {
            self.claim(in_flight, member, position)?;
        }
        Ok(done)
    }

    /// Claims one event; whether it was put aside before.
    fn claim(
        &mut self,
        in_flight: &mut InFlight,
        member: MemberId,
        position: Position,
    ) -> Result<bool, NotHeld> {
        match in_flight.claim(member, position, &mut self.next) {
            Some(Claimed::Read(from)) => {
                self.settled.push(from, position.next());
                Ok(false)
            }
            Some(Claimed::Aside) => {
                self.aside.push(position);
                Ok(true)
            }
            None => Err(NotHeld),
        }
    }
}

/// The positions of a commit that may have been put aside before.
pub(super) fn aside(committed: &Committed) -> impl Iterator<Item = Position> {
    (committed.done.iter().copied())
        .chain(committed.retries.iter().map(|it| it.position))
        .chain(committed.parked.iter().map(|it| it.position))
        .chain(committed.dead.iter().map(|it| it.position))
}

/// The dead letters of a commit. When as many events are put aside as may be, those that were
/// to be skipped hold up their keys, so that a key adds one and no more.
fn died(commit: &Commit, kept: usize, parked_max: usize) -> Vec<Died> {
    let mut died: Vec<Died> = commit.dead.iter().map(Died::from).collect();
    for (count, died) in died.iter_mut().enumerate() {
        let is_full = kept + count >= parked_max;
        died.is_stopped = is_full && !died.blocks;
        died.blocks |= is_full;
    }
    died
}

fn parked_of(envelope: &Envelope, position: Position) -> Parked {
    Parked {
        position,
        topic: envelope.topic().to_owned(),
        key: envelope.key().to_owned(),
    }
}

impl From<&Retry> for Retried {
    fn from(retry: &Retry) -> Self {
        Self {
            position: retry.position,
            topic: retry.envelope.topic().to_owned(),
            key: retry.envelope.key().to_owned(),
            attempt: retry.attempt,
            due: retry.due,
            reason: record::shorten(&retry.reason),
        }
    }
}

impl From<&Death> for Died {
    fn from(death: &Death) -> Self {
        Self {
            position: death.position,
            topic: death.envelope.topic().to_owned(),
            key: death.envelope.key().to_owned(),
            id: death.envelope.id().to_owned(),
            source: death.envelope.source().to_owned(),
            kind: death.envelope.event_type().to_owned(),
            attempts: death.attempts,
            cause: death.cause,
            reason: record::shorten(&death.reason),
            blocks: death.on_dead == OnDead::Park,
            is_stopped: false,
        }
    }
}

impl From<&StateWrite> for CellWrite {
    fn from(write: &StateWrite) -> Self {
        Self {
            topic: write.topic.clone(),
            key: write.key.clone(),
            name: write.name.clone(),
            value: write.value.clone(),
        }
    }
}
