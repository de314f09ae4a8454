//! One transaction of a lane.

use std::sync::Arc;

use ensue::Failure;
use ensue::engine::Recorded;

use super::view::Change;
use super::{Lane, number};
use crate::database::Database;
use crate::error::Error;
use crate::projection::position::{self, Aside, LanePosition};
use crate::projection::sql::Sql;

/// How events are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// All or none: the fast way.
    Together,
    /// Each behind a savepoint: what fails is put aside.
    Savepoints,
    /// Not at all: the first is put aside.
    PutAside,
}

/// How a transaction ended.
pub(super) enum Attempt<T> {
    /// It is durable: what it has moved, and what became of keys with positions of their own.
    Committed(T, Vec<Change>),
    /// An event, or the commit, was refused. Nothing happened.
    Refused(Failure),
    /// The position is not this owner's to move. Nothing happened.
    Guarded,
    /// The database failed; what was being committed may have happened.
    Unknown(Error),
}

impl<T> From<sqlx::Error> for Attempt<T> {
    fn from(error: sqlx::Error) -> Self {
        Self::Unknown(error.into())
    }
}

impl<P: Send + Sync + 'static, DB: Database> Lane<P, DB> {
    /// Applies these events, and moves the lane to `to`.
    pub(super) async fn attempt(
        &self,
        row: &LanePosition,
        (events, to): (&[Recorded], i64),
        manner: Manner,
    ) -> Attempt<LanePosition> {
        let attempted = self.try_to_apply(row, (events, to), manner).await;
        attempted.unwrap_or_else(|failed| failed)
    }

    async fn try_to_apply(
        &self,
        row: &LanePosition,
        (events, to): (&[Recorded], i64),
        manner: Manner,
    ) -> Result<Attempt<LanePosition>, Attempt<LanePosition>> {
        let mut sql = self.begin().await?;
        let mut moved = row.clone();
        moved.position = to;
        moved.claims = 0;
        if let Some(last) = events.last() {
            moved.last = Some((number(last), position::mark(last)));
        }
        let owner = &self.term.owner;
        if !position::advance::<DB>(&mut sql, owner, row, to, moved.last).await? {
            self.roll_back(sql).await?;
            return Ok(Attempt::Guarded);
        }
        let mut changes = Changes::default();
        let events: Vec<&Recorded> = events
            .iter()
            .filter(|event| !changes.passes_by(self, event))
            .collect();
        let applied = match manner {
            Manner::Together => self.apply_together(&mut sql, &events).await,
            Manner::Savepoints => self.apply_each(&mut sql, &events, &mut changes).await?,
            Manner::PutAside => {
                events.iter().for_each(|event| changes.put(event));
                Ok(())
            }
        };
        if let Err(failure) = applied {
            // What cannot be rolled back is a connection that is gone, and no event's fault.
            self.roll_back(sql).await?;
            return Ok(Attempt::Refused(failure));
        }
        let changes = changes.write::<DB>(&mut sql, owner).await?;
        match sql.commit().await {
            Ok(()) => Ok(Attempt::Committed(moved, changes)),
            Err(error) => Err(not_committed(error)),
        }
    }

    async fn begin(&self) -> Result<Sql<DB>, sqlx::Error> {
        let transaction = self.term.definition.pool.begin_with(DB::BEGIN).await?;
        let mut sql = Sql::new(transaction, Arc::clone(&self.term.names));
        sql.note_session().await?;
        Ok(sql)
    }

    async fn roll_back(&self, sql: Sql<DB>) -> Result<(), sqlx::Error> {
        sql.rollback(&self.term.definition.pool).await
    }

    async fn apply_together(&self, sql: &mut Sql<DB>, events: &[&Recorded]) -> Result<(), Failure> {
        let definition = &self.term.definition;
        let is_same =
            |one: &&Recorded, other: &&Recorded| definition.route(one) == definition.route(other);
        for run in events.chunk_by(is_same) {
            let run: Vec<Recorded> = run.iter().map(|event| (*event).clone()).collect();
            self.call(sql, &run).await?;
        }
        Ok(())
    }

    /// Calls the method that takes these events, all of one type.
    async fn call(&self, sql: &mut Sql<DB>, events: &[Recorded]) -> Result<(), Failure> {
        let definition = &self.term.definition;
        let route = events.first().and_then(|event| definition.route(event));
        let Some(route) = route.and_then(|at| definition.routes.get(at)) else {
            return Ok(());
        };
        let timeout = definition.settings.timeout;
        let applied = route.apply(&definition.projection, sql, events);
        match tokio::time::timeout(timeout, applied).await {
            Ok(applied) => applied,
            Err(_) => Err(Failure::retry(format!(
                "it took longer than its timeout of {timeout:?}"
            ))),
        }
    }

    async fn apply_each(
        &self,
        sql: &mut Sql<DB>,
        events: &[&Recorded],
        changes: &mut Changes,
    ) -> Result<Result<(), Failure>, sqlx::Error> {
        for event in events {
            if changes.passes_by(self, event) {
                continue;
            }
            sql.savepoint().await?;
            match self.call(sql, std::slice::from_ref(*event)).await {
                Ok(()) => sql.keep().await?,
                Err(failure) => {
                    if !sql.undo().await {
                        // The savepoint is gone: MySQL ends a deadlock by undoing all of the transaction. Or a
                        // statement still runs.
                        return Ok(Err(failure));
                    }
                    let group = &self.term.owner.name;
                    tracing::debug!(group, position = %event.position, %failure, "put aside");
                    changes.put(event);
                }
            }
        }
        Ok(Ok(()))
    }

    /// Applies an event of a key that has a position of its own.
    pub(super) async fn attempt_aside(&self, event: &Recorded, aside: &Aside) -> Attempt<()> {
        let attempted = self.try_to_apply_aside(event, aside).await;
        attempted.unwrap_or_else(|failed| failed)
    }

    async fn try_to_apply_aside(
        &self,
        event: &Recorded,
        aside: &Aside,
    ) -> Result<Attempt<()>, Attempt<()>> {
        let mut sql = self.begin().await?;
        let to = number(event) + 1;
        if !position::advance_aside::<DB>(&mut sql, &self.term.owner, aside, to).await? {
            self.roll_back(sql).await?;
            return Ok(Attempt::Guarded);
        }
        if let Err(failure) = self.call(&mut sql, std::slice::from_ref(event)).await {
            self.roll_back(sql).await?;
            return Ok(Attempt::Refused(failure));
        }
        commit_aside(sql, aside, to).await
    }

    /// Moves a key that has a position of its own behind the event at which it waits, without that.
    pub(super) async fn attempt_to_pass_by(&self, aside: &Aside) -> Attempt<()> {
        let attempted = async {
            let mut sql = self.begin().await?;
            let to = aside.position + 1;
            if !position::advance_aside::<DB>(&mut sql, &self.term.owner, aside, to).await? {
                self.roll_back(sql).await?;
                return Ok(Attempt::Guarded);
            }
            commit_aside(sql, aside, to).await
        };
        attempted.await.unwrap_or_else(|failed| failed)
    }
}

async fn commit_aside<DB: Database>(
    sql: Sql<DB>,
    aside: &Aside,
    to: i64,
) -> Result<Attempt<()>, Attempt<()>> {
    let moved = Aside {
        position: to,
        ..aside.clone()
    };
    let change = match to >= aside.until {
        true => Change::Rejoined(moved),
        false => Change::Put(moved),
    };
    match sql.commit().await {
        Ok(()) => Ok(Attempt::Committed((), vec![change])),
        Err(error) => Err(not_committed(error)),
    }
}

/// A commit that failed: a constraint that is checked only there refuses it, or nobody knows.
fn not_committed<T>(error: sqlx::Error) -> Attempt<T> {
    let error = Error::from(error);
    match error {
        Error::Database(sqlx::Error::Database(_)) if !error.is_passing() => {
            Attempt::Refused(Failure::retry(error.to_string()))
        }
        error => Attempt::Unknown(error),
    }
}

/// What a transaction makes of keys with positions of their own.
#[derive(Default)]
struct Changes {
    new: Vec<Aside>,
    extended: Vec<Aside>,
}

impl Changes {
    /// Whether the event's key has a position of its own; then it is noted that the lane has passed it by.
    fn passes_by<P: Send + Sync + 'static, DB: Database>(
        &mut self,
        lane: &Lane<P, DB>,
        event: &Recorded,
    ) -> bool {
        let until = number(event) + 1;
        let is_of = |aside: &&mut Aside| {
            aside.key == event.envelope.key() && aside.topic == event.envelope.topic()
        };
        let known = self.new.iter_mut().chain(&mut self.extended).find(is_of);
        if let Some(aside) = known {
            aside.until = aside.until.max(until);
            return true;
        }
        let Some(aside) = lane.view().aside(event).cloned() else {
            return false;
        };
        let until = aside.until.max(until);
        self.extended.push(Aside { until, ..aside });
        true
    }

    /// Gives the event's key a position of its own, that of the event.
    fn put(&mut self, event: &Recorded) {
        self.new.push(Aside {
            topic: event.envelope.topic().to_owned(),
            key: event.envelope.key().to_owned(),
            position: number(event),
            until: number(event) + 1,
        });
    }

    async fn write<DB: Database>(
        self,
        connection: &mut DB::Connection,
        owner: &position::Owner,
    ) -> Result<Vec<Change>, sqlx::Error> {
        for aside in &self.new {
            position::put_aside::<DB>(connection, owner, aside).await?;
        }
        for aside in &self.extended {
            position::extend::<DB>(connection, owner, aside).await?;
        }
        let all = self.new.into_iter().chain(self.extended);
        Ok(all.map(Change::Put).collect())
    }
}
