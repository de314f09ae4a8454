//! A lane: the events of some keys, applied in the order of the log, each in one transaction with the lane's
//! position.
//!
//! ```text
//! begin → move the position (the guard) → apply the events → commit
//! ```
//!
//! What fails together is tried again event by event, each behind a savepoint. An event that still fails is
//! *put aside*: its key gets a position of its own, the rest of the batch commits, and the group's ordinary
//! delivery brings the event again, alone, with attempts, backoff and a dead letter at their end. So do the
//! later events of its key, until the key has caught up.

mod attempt;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue::engine::Recorded;
use ensue::{Engine, Failure};
use tokio::sync::Notify;

use self::attempt::{Attempt, Manner};
pub(super) use self::view::Place;
use self::view::{Change, View};
use super::definition::Definition;
use super::names::Names;
use super::position::{self, Aside, LanePosition, Owner};
use super::restored;
use crate::database::Database;
use crate::error::{Error, Result};

/// How often owners may end at the same place before events are applied one by one.
const CLAIMS_TOGETHER_MAX: i64 = 2;
/// How often they may end there before the event at that place is put aside without being tried.
const CLAIMS_TRIED_MAX: i64 = 4;
/// The longest wait for a database that is away.
const AWAY_WAIT_MAX: Duration = Duration::from_secs(5);
const AWAY_WAIT_MIN: Duration = Duration::from_millis(50);
/// How many keys are looked at in one go for what was given up.
const GIVEN_UP_LOOKED_AT_MAX: usize = 16;
/// How often a lane that is held looks whether it still is.
const HELD_WAIT: Duration = Duration::from_millis(100);

/// Why a lane cannot go on under this owner.
#[derive(Debug)]
pub(super) enum Ended {
    /// Another owner has taken over, or the database was put back: begin again from what it holds.
    Lost,
    /// It cannot go on at all.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What the lanes of one owner share.
pub(super) struct Term<P, DB: Database> {
    pub(super) definition: Arc<Definition<P, DB>>,
    pub(super) engine: Engine,
    pub(super) names: Arc<Names>,
    pub(super) owner: Owner,
}

/// One lane of a projection, under one owner.
pub(super) struct Lane<P, DB: Database> {
    term: Arc<Term<P, DB>>,
    number: usize,
    lanes: usize,
    /// Held by whoever changes the lane in the database: what it was left as.
    turn: tokio::sync::Mutex<Turn>,
    /// The same, for those who ask how far it is.
    view: Mutex<View>,
    moved: Notify,
}

struct Turn {
    row: LanePosition,
    /// How many further events are applied one by one: one of them may have ended an owner.
    careful: usize,
    /// Whether the next one has.
    is_suspect: bool,
}

impl<P: Send + Sync + 'static, DB: Database> Lane<P, DB> {
    pub(super) fn new(
        term: Arc<Term<P, DB>>,
        (number, lanes): (usize, usize),
        row: LanePosition,
        aside: &[Aside],
    ) -> Self {
        let events_max = term.definition.settings.batch_events_max;
        let careful = match row.claims > CLAIMS_TOGETHER_MAX {
            true => events_max.saturating_mul(2),
            false => 0,
        };
        let is_suspect = row.claims > CLAIMS_TRIED_MAX;
        let view = View::new(row.position, aside_of(aside, number, lanes));
        Self {
            term,
            number,
            lanes,
            turn: tokio::sync::Mutex::new(Turn {
                row,
                careful,
                is_suspect,
            }),
            view: Mutex::new(view),
            moved: Notify::new(),
        }
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes before it is in the database, but for what was put aside.
    pub(super) fn position(&self) -> i64 {
        self.view().position()
    }

    /// Where an event of this lane stands.
    pub(super) fn place(&self, event: &Recorded) -> Place {
        self.view().place(event)
    }

    /// Waits until the database has the event, or the event's turn has come to be tried alone.
    pub(super) async fn reached(&self, event: &Recorded) -> Place {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            match self.place(event) {
                Place::Ahead => moved.await,
                place => return place,
            }
        }
    }

    /// Applies events of this lane, and with them everything of it before `upto`.
    pub(super) async fn apply(&self, events: &[Recorded], upto: i64) -> Result<(), Ended> {
        let mut turn = self.turn.lock().await;
        let mut manner = Manner::Together;
        let mut is_single = false;
        loop {
            // Those that a commit whose answer was lost has brought are in the database.
            let position = turn.row.position;
            let left = events.partition_point(|event| number(event) < position);
            let events = events.get(left..).unwrap_or_default();
            let (events, to) = clip(events, upto, turn.row.hold);
            if to <= position {
                if position >= upto {
                    return Ok(());
                }
                self.held(&mut turn).await?;
                continue;
            }
            if std::mem::take(&mut turn.is_suspect) && !events.is_empty() {
                manner = Manner::PutAside;
            }
            let size = match is_single || turn.careful > 0 || manner == Manner::PutAside {
                true => 1,
                false => events.len(),
            };
            let (events, to) = head(events, size, to);
            let attempted = self.attempt(&turn.row, (events, to), manner).await;
            match attempted {
                Attempt::Committed(row, changes) => {
                    turn.careful = turn.careful.saturating_sub(events.len());
                    turn.row = row;
                    let new = Change::new_of(&changes);
                    self.view().moved(turn.row.position, changes);
                    self.moved.notify_waiters();
                    manner = Manner::Together;
                    self.ask_for(&new).await?;
                }
                Attempt::Refused(failure) => match (manner, events.len()) {
                    (Manner::Together, 2..) => manner = Manner::Savepoints,
                    // Only the commit itself refuses it.
                    (Manner::Savepoints, 2..) => (manner, is_single) = (Manner::Together, true),
                    (Manner::PutAside, _) => return Err(Error::Refused(failure.to_string()).into()),
                    _ => manner = Manner::PutAside,
                },
                Attempt::Unknown(error) if error.is_passing() => {
                    self.reload(&mut turn, error).await?
                }
                Attempt::Unknown(error) => return Err(error.into()),
                Attempt::Guarded => self.guarded(&mut turn).await?,
            }
        }
    }

    /// Applies an event whose key has a position of its own, alone.
    pub(super) async fn apply_aside(&self, event: &Recorded) -> Result<Result<(), Failure>, Ended> {
        let mut turn = self.turn.lock().await;
        loop {
            let aside = match self.place(event) {
                Place::Aside(aside) => aside,
                _ => return Ok(Ok(())),
            };
            match self.attempt_aside(event, &aside).await {
                Attempt::Committed((), changes) => {
                    let position = turn.row.position;
                    self.view().moved(position, changes);
                    self.moved.notify_waiters();
                    return Ok(Ok(()));
                }
                Attempt::Refused(failure) => return Ok(Err(failure)),
                Attempt::Unknown(error) if error.is_passing() => {
                    self.reload(&mut turn, error).await?
                }
                Attempt::Unknown(error) => return Err(error.into()),
                Attempt::Guarded => return Err(Ended::Lost),
            }
        }
    }

    /// What was put aside now is to be brought again by the group, whatever that has done with it before.
    async fn ask_for(&self, new: &[Aside]) -> Result<(), Ended> {
        let group = &self.term.owner.name;
        let positions: Vec<i64> = new.iter().map(|aside| aside.position).collect();
        let asked = restored::handle_again(&self.term.engine, group, &positions).await;
        Ok(asked?)
    }

    /// Passes by events that were put aside, and that an operator has given up since.
    pub(super) async fn pass_by_what_was_given_up(&self) -> Result<(), Ended> {
        // Over `ensue://`, what is put aside cannot be told from what is done with.
        if self.term.engine.url().starts_with("ensue:") {
            return Ok(());
        }
        let waiting = self.view().some_aside(GIVEN_UP_LOOKED_AT_MAX);
        for aside in waiting {
            let group = &self.term.owner.name;
            match restored::is_done(&self.term.engine, group, aside.position).await {
                Ok(true) => self.pass_by(&aside).await?,
                Ok(false) => {}
                Err(error) if error.is_passing() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn pass_by(&self, aside: &Aside) -> Result<(), Ended> {
        let turn = self.turn.lock().await;
        match self.attempt_to_pass_by(aside).await {
            Attempt::Committed((), changes) => self.view().moved(turn.row.position, changes),
            // It has moved meanwhile; what is away is asked again soon.
            Attempt::Guarded | Attempt::Refused(_) => {}
            Attempt::Unknown(error) if error.is_passing() => {}
            Attempt::Unknown(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The database did not answer: waits until it does, and takes over what it holds.
    async fn reload(&self, turn: &mut Turn, error: Error) -> Result<(), Ended> {
        tracing::warn!(group = self.term.owner.name, %error, "the database is away: trying again");
        let mut wait = AWAY_WAIT_MIN;
        loop {
            tokio::time::sleep(wait).await;
            match self.read().await {
                Ok((row, aside)) => return self.take_over(turn, row, aside),
                Err(error) if error.is_passing() => wait = (wait * 2).min(AWAY_WAIT_MAX),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn read(&self) -> Result<(Option<LanePosition>, Vec<Aside>)> {
        let mut connection = self.term.definition.pool.acquire().await?;
        let name = &self.term.owner.name;
        let rows = position::lanes::<DB>(&mut connection, name).await?;
        let aside = position::aside::<DB>(&mut connection, name).await?;
        let row = rows.into_iter().nth(self.number);
        Ok((row, aside))
    }

    /// Ours is what this owner left, or what its lost commit made of it.
    fn take_over(
        &self,
        turn: &mut Turn,
        row: Option<LanePosition>,
        aside: Vec<Aside>,
    ) -> Result<(), Ended> {
        let row = row.ok_or(Ended::Lost)?;
        if row.epoch != self.term.owner.epoch || row.position < turn.row.position {
            return Err(Ended::Lost);
        }
        let aside = aside_of(&aside, self.number, self.lanes);
        *self.view() = View::new(row.position, aside);
        turn.row = row;
        self.moved.notify_waiters();
        Ok(())
    }

    /// The guard has not let it through.
    async fn guarded(&self, turn: &mut Turn) -> Result<(), Ended> {
        let before = turn.row.clone();
        match self.read().await {
            Ok((row, aside)) => self.take_over(turn, row, aside)?,
            Err(error) if error.is_passing() => self.reload(turn, error).await?,
            Err(error) => return Err(error.into()),
        }
        // It is as it was, and nothing holds it: then it is another's.
        match turn.row == before {
            true => Err(Ended::Lost),
            false => Ok(()),
        }
    }

    /// Looks after a while whether the lane may go on.
    async fn held(&self, turn: &mut Turn) -> Result<(), Ended> {
        tokio::time::sleep(HELD_WAIT).await;
        match self.read().await {
            Ok((row, aside)) => self.take_over(turn, row, aside),
            Err(error) if error.is_passing() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn aside_of(all: &[Aside], number: usize, lanes: usize) -> HashMap<(String, String), Aside> {
    all.iter()
        .filter(|aside| position::lane_of(&aside.key, lanes) == number)
        .map(|aside| ((aside.topic.clone(), aside.key.clone()), aside.clone()))
        .collect()
}

/// The number of an event's position, as a database keeps it.
pub(super) fn number(event: &Recorded) -> i64 {
    i64::try_from(event.position.get()).unwrap_or(i64::MAX)
}

/// What of the events is before the hold.
fn clip(events: &[Recorded], upto: i64, hold: Option<i64>) -> (&[Recorded], i64) {
    let Some(hold) = hold.filter(|hold| *hold < upto) else {
        return (events, upto);
    };
    let before = events.partition_point(|event| number(event) < hold);
    (events.get(..before).unwrap_or_default(), hold)
}

/// The first of the events, and up to where that is.
fn head(events: &[Recorded], size: usize, upto: i64) -> (&[Recorded], i64) {
    match (
        events.get(..size),
        events.get(..size).and_then(|it| it.last()),
    ) {
        (Some(head), Some(last)) if head.len() < events.len() => (head, number(last) + 1),
        _ => (events, upto),
    }
}
