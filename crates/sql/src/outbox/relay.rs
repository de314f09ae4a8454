//! The relay: takes rows in order, appends their events together with how far it came, and removes the rows.

use std::time::Duration;

use ensue::engine::Append;
use ensue::error::AppendError;
use ensue::{Backoff, Engine, Position};
use ensue_core::error::Outlook;

use super::batch::Batch;
use super::follow::{follow, sync_what_was_read};
use super::progress::{self, Recorded};
use super::row::Waiting;
use super::seat::{self, Seat};
use super::waking::{POLL, Waking};
use super::{Outbox, ROWS_MAX};
use crate::database::Database;
use crate::error::{Error, Result};

/// How long to wait when the database or the engine is away.
const AWAY: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

/// Relays an outbox into an engine; made by [`Outbox::relay`].
///
/// Any number may run, in this process and in others: one works, the others stand by, and whatever instant
/// one is killed at, each row is appended once.
#[derive(Debug)]
#[must_use = "a relay does nothing until it runs"]
pub struct Relay<DB: Database> {
    outbox: Outbox<DB>,
    engine: Engine,
    waking: Waking,
    poll: Backoff,
    /// Fewer after the engine has refused as many together.
    rows_max: usize,
    relayed: u64,
    failures: u32,
}

/// What became of one look at the outbox.
enum Step {
    /// Rows were dealt with.
    Worked,
    /// There are none.
    Empty,
    /// Another relay is ahead.
    Overtaken,
}

/// What became of an append.
enum Outcome {
    Appended(Position),
    Overtaken,
    /// It will not have it; the reason is for people.
    Refused(ensue::Error),
}

impl<DB: Database> Relay<DB> {
    pub(super) fn new(outbox: Outbox<DB>, engine: &Engine) -> Self {
        Self {
            waking: Waking::new(outbox.wake.clone(), POLL),
            outbox,
            engine: engine.clone(),
            poll: POLL,
            rows_max: ROWS_MAX,
            relayed: 0,
            failures: 0,
        }
    }

    /// How soon a database that has nothing is asked again, and how rarely when it had nothing for a while: 5 ms
    /// and a second, if this is not said. PostgreSQL wakes the relay besides, and so does a program that has
    /// published in the same process ([`Outbox::committed`]).
    pub fn poll(mut self, min: Duration, max: Duration) -> Self {
        self.poll = Backoff::new(min, max);
        self.waking = Waking::new(self.outbox.wake.clone(), self.poll);
        self
    }

    /// Relays until it is dropped, which it may be at any moment. While the database or the engine is away it
    /// tries again.
    ///
    /// # Errors
    /// What trying again cannot help: [`Error::EngineBehind`], an engine that was closed, a table that is
    /// missing.
    pub async fn run(mut self) -> Result<()> {
        loop {
            let Err(error) = self.work(true).await else {
                continue;
            };
            self.bear(error).await?;
        }
    }

    /// Relays what waits, until nothing does; returns how many events that were. Without patience: what is
    /// away is an error.
    ///
    /// # Errors
    /// As for [`run`](Self::run), and everything that passes: the rows are still there.
    pub async fn run_until_empty(&mut self) -> Result<u64> {
        let before = self.relayed;
        self.work(false).await?;
        Ok(self.relayed - before)
    }

    /// Waits, if waiting helps.
    async fn bear(&mut self, error: Error) -> Result<()> {
        if !error.is_passing() {
            return Err(error);
        }
        self.failures = self.failures.saturating_add(1);
        let wait = AWAY.wait(self.failures, fastrand::f64());
        tracing::warn!(%error, ?wait, "the outbox is not relayed at present, trying again");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Goes on for ever, or until nothing waits.
    async fn work(&mut self, goes_on: bool) -> Result<()> {
        loop {
            let mut seat = seat::take(&self.outbox.pool, &self.engine).await?;
            loop {
                match self.step(&mut seat).await? {
                    Step::Worked => {
                        self.failures = 0;
                        self.waking.has_worked();
                    }
                    Step::Empty if !goes_on => return Ok(()),
                    Step::Empty => self.waking.rest(&self.outbox.pool).await?,
                    Step::Overtaken => break,
                }
            }
            if goes_on {
                self.stand_by().await?;
            }
        }
    }

    /// Waits until the relay that was faster does nothing any more.
    async fn stand_by(&mut self) -> Result<()> {
        let mut before = None;
        loop {
            let place = seat::place(&self.outbox.pool).await?;
            if before.as_ref() == Some(&place) {
                return Ok(());
            }
            before = Some(place);
            tokio::time::sleep(self.poll.max).await;
        }
    }

    async fn step(&mut self, seat: &mut Seat) -> Result<Step> {
        let rows_max = i64::try_from(self.rows_max).unwrap_or(i64::MAX);
        let mut rows = seat::page(&self.outbox.pool, i64::MIN, rows_max).await?;
        if rows.is_empty() {
            return Ok(Step::Empty);
        }
        // Rows of another moment may have been relayed since.
        if rows.iter().any(|row| row.batch != seat.last.progress.batch) {
            return Ok(Step::Overtaken);
        }
        sync_what_was_read(&self.outbox.pool).await?;
        loop {
            let Batch { events, progress } = Batch::of(&rows);
            let events_max = events.len();
            let batch = seat.last.progress.batch + 1;
            let recorded = Recorded::after(Some(&seat.last.id), batch, progress);
            let appends = events.into_iter().map(Append::from).collect();
            match self.append(seat, &recorded, appends).await? {
                Outcome::Appended(position) => {
                    return self.follow(seat, recorded, position, events_max).await;
                }
                Outcome::Overtaken => return Ok(Step::Overtaken),
                Outcome::Refused(error) => self.narrow(&mut rows, events_max, error)?,
            }
        }
    }

    /// Appends events and, after them, what they are: all of it, if the seat is still taken.
    async fn append(
        &self,
        seat: &Seat,
        recorded: &Recorded,
        mut batch: Vec<Append>,
    ) -> Result<Outcome> {
        let now = self.engine.clock().now();
        batch.push(recorded.append(&seat.identity, Some(seat.position), now)?);
        match self.engine.append(batch).await {
            Ok(appended) => {
                let position = progress::position_of_last(&appended)?;
                Ok(Outcome::Appended(position))
            }
            // Retention has removed the progress: the seat is looked for again.
            Err(ensue::Error::Append(
                AppendError::Conflict { .. } | AppendError::VersionRemoved { .. },
            )) => Ok(Outcome::Overtaken),
            Err(error) if error.outlook() == Outlook::Content => Ok(Outcome::Refused(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// The engine has it. Now the rows go.
    async fn follow(
        &mut self,
        seat: &mut Seat,
        recorded: Recorded,
        position: Position,
        events: usize,
    ) -> Result<Step> {
        let is_first = follow(&self.outbox.pool, &recorded).await?;
        let refused = &recorded.progress.refused;
        for it in refused {
            tracing::warn!(
                row = it.row,
                reason = it.reason,
                "a row of the outbox is parked"
            );
        }
        self.relayed += events as u64;
        self.rows_max = (self.rows_max * 2).min(ROWS_MAX);
        seat.last = recorded;
        seat.position = position;
        Ok(match is_first {
            true => Step::Worked,
            false => Step::Overtaken,
        })
    }

    /// Fewer rows, after the engine has refused these; a row that it refuses alone is the one.
    fn narrow(
        &mut self,
        rows: &mut Vec<Waiting>,
        events: usize,
        error: ensue::Error,
    ) -> Result<()> {
        if events > 1 {
            self.rows_max = (rows.len() / 2).max(1);
            rows.truncate(self.rows_max);
            return Ok(());
        }
        let batch_event = |row: &&mut Waiting| !row.is_behind && row.event.is_ok();
        match rows.iter_mut().find(batch_event) {
            Some(row) if events == 1 => {
                row.refuse(&ensue::error::with_causes(&error));
                Ok(())
            }
            // What is said of the rows alone is too large, which it never is.
            _ => Err(error.into()),
        }
    }
}
