//! A commit: effects, settlements and state in one batch of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ensue_log as log;

use crate::engine::{ATTEMPT_MAX, Commit, Committed};
use crate::error::{Error, GroupError, LimitError, Result};
use crate::ids::{Epoch, MemberId};
use crate::model::change::Change;
use crate::model::record;
use crate::model::record::CellWrite;
use crate::pending_write::PendingWrite;
use crate::runtime::append::{Outgoing, Said};
use crate::runtime::dropped;
use crate::runtime::engine_inner::{EngineInner, NotSubmitted};
use crate::runtime::locked_state::LockedState;
use crate::runtime::lookup::blocking;
use crate::runtime::pending_changes::Terms;
use crate::time::Timestamp;

/// A commit on its way into the log.
pub(crate) struct MemberCommit {
    inner: Arc<EngineInner>,
    group: String,
    member: MemberId,
    is_conditional: bool,
    outgoing: Outgoing,
    commit: Commit,
    /// Whether its bytes were added to those of the log.
    is_counted: bool,
    at: Timestamp,
    generation: Arc<AtomicU64>,
}

impl MemberCommit {
    /// A commit of a member: its events are encoded here, outside of the lock.
    pub(crate) fn of(
        inner: &Arc<EngineInner>,
        group: &str,
        member: MemberId,
        commit: Commit,
    ) -> Result<Self> {
        check_attempts(group, &commit)?;
        let at = inner.now();
        let outgoing = Outgoing::of(commit.effects.iter().map(Said::from), at)?;
        Ok(Self {
            inner: inner.clone(),
            group: group.to_owned(),
            member,
            is_conditional: outgoing.is_conditional,
            outgoing,
            commit,
            is_counted: false,
            at,
            generation: Arc::default(),
        })
    }

    /// Durable and applied when it returns.
    pub(crate) async fn commit(mut self) -> Result<Committed> {
        let (inner, generation) = (self.inner.clone(), self.generation.clone());
        inner.warm().await?;
        let submitted = loop {
            let room = inner.room();
            let outcome = if self.is_conditional {
                // What it expects may have to be looked up on disk.
                let (returned, outcome) = blocking(move || {
                    let outcome = self.submit();
                    Ok((self, outcome))
                })
                .await?;
                self = returned;
                outcome
            } else {
                self.submit()
            };
            match outcome {
                Ok(submitted) => break submitted,
                Err(NotSubmitted::Log(log::SubmitError::Full(_))) => room.wait().await,
                Err(NotSubmitted::Log(error)) => return Err(inner.refused(error)),
                Err(NotSubmitted::Engine(error)) => return Err(error),
            }
        };
        let receipt = submitted.await?;
        inner.locked().advance();
        let duplicates = self.outgoing.duplicates(&receipt).await;
        let dropped = if duplicates.is_empty() {
            0
        } else {
            dropped::count(inner.view(), &self.commit.effects, duplicates).await
        };
        let generation = generation.load(Ordering::Acquire);
        Ok(Committed {
            generation,
            dropped,
        })
    }

    /// Claims the commit's events and submits it as one batch. When the log does not take it,
    /// nothing is claimed, and it can be submitted again.
    fn submit(&mut self) -> Result<PendingWrite, NotSubmitted> {
        let inner = self.inner.clone();
        inner.check_open()?;
        let mut locked = inner.advanced();
        let fenced = || {
            Error::Group(GroupError::Fenced {
                group: self.group.clone(),
            })
        };
        let (session, durable) = locked
            .session_of(&self.group, self.member)
            .ok_or_else(fenced)?;
        let group = (self.group.as_str(), durable);
        let committed = session.claim(group, self.member, &self.commit, self.at);
        let committed = committed.map_err(|_| fenced())?;
        let epoch = Some(session.epoch());
        let outcome = self.submit_claimed(&mut locked, &committed, epoch);
        if outcome.is_err()
            && let Some((session, _)) = locked.session_of(&self.group, self.member)
        {
            session.unclaim(&committed);
        }
        outcome
    }

    fn submit_claimed(
        &mut self,
        locked: &mut LockedState,
        committed: &record::Committed,
        epoch: Option<Epoch>,
    ) -> Result<PendingWrite, NotSubmitted> {
        let cell_bytes = self.check_cells(locked, &committed.cells)?;
        let committed = Change::Committed(Box::new(committed.clone()));
        // Again for each try: what is decided about the schedules may be another thing by now.
        let mut changes = self.outgoing.decide(locked, &self.inner)?;
        committed.push_to(&mut self.outgoing.batch)?;
        changes.push(committed);
        if !std::mem::replace(&mut self.is_counted, true) {
            self.inner.grew(self.outgoing.batch.bytes());
        }
        let generation = Some(self.generation.clone());
        let terms = Terms {
            epoch,
            cell_bytes,
            generation,
        };
        let batch = std::mem::take(&mut self.outgoing.batch);
        let outcome = self.inner.submit_locked(locked, batch, changes, terms);
        outcome.map_err(|error| match error {
            log::SubmitError::Full(batch) => {
                self.outgoing.batch = batch;
                NotSubmitted::Log(log::SubmitError::Full(log::Batch::new()))
            }
            other => NotSubmitted::Log(other),
        })
    }

    /// How much more state there will be; refuses what is too much. What makes it less is always
    /// let through.
    fn check_cells(&self, locked: &LockedState, cells: &[CellWrite]) -> Result<usize> {
        if cells.is_empty() {
            return Ok(0);
        }
        let max = self.inner.settings().state_bytes_max;
        let there = locked.cell_bytes();
        // At the most: each write counts, and nothing that it replaces. Far from the limit that is
        // good enough; near it, what others on their way take must not be overstated.
        let most = cells
            .iter()
            .map(crate::model::keyed_state::cell_bytes)
            .sum::<usize>();
        if there + most <= max / 2 {
            return Ok(most);
        }
        let group = locked.state().groups().get(&self.group);
        let more = group.map_or(most, |group| group.cells().growth(cells));
        if more == 0 || there + more <= max {
            return Ok(more);
        }
        Err(Error::Limit(LimitError {
            what: "the size of all groups' state in bytes".into(),
            value: (there + more) as u64,
            limit: "state_bytes_max",
            max: max as u64,
            advice: "clear cells that are no longer needed, or raise the limit in the engine's URL",
        }))
    }
}

/// Refuses numbers of attempts that cannot be.
fn check_attempts(group: &str, commit: &Commit) -> Result<()> {
    let retries = commit.retries.iter();
    let mut numbers = retries
        .map(|it| (it.position, it.attempt, 1))
        // What could not be decoded was not attempted.
        .chain(commit.dead.iter().map(|it| (it.position, it.attempts, 0)));
    let wrong = numbers.find(|(_, number, least)| !(*least..=ATTEMPT_MAX).contains(number));
    match wrong {
        None => Ok(()),
        Some((position, number, _)) => Err(Error::Group(GroupError::AttemptNumber {
            group: group.to_owned(),
            position,
            number,
        })),
    }
}
