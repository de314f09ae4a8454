//! The methods that apply events, and which of them takes which.

use std::future::Future;
use std::marker::PhantomData;

use ensue::engine::Recorded;
use ensue::{Applied, Envelope, Event, Failure, TopicPattern};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::sql::Sql;
use crate::database::Database;

/// A method that applies `E` to the projection `P`: `async fn created(&self, sql: &mut Sql<Postgres>, order:
/// OrderCreated) -> Result<(), sqlx::Error>`. Implemented for all of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not apply events to `{P}`",
    note = "it is a method: `async fn created(&self, sql: &mut Sql<Postgres>, order: OrderCreated) -> \
            Result<(), sqlx::Error>`; `on_many` takes one whose last parameter is a `Vec`"
)]
pub trait Apply<'a, P, DB: Database, E>: Send + Sync {
    /// What it returns.
    type Future: Future<Output: Applied> + Send + 'a;

    /// Calls it.
    fn apply(&self, projection: &'a P, sql: &'a mut Sql<DB>, event: E) -> Self::Future;
}

impl<'a, P, DB, E, F, Fut> Apply<'a, P, DB, E> for F
where
    P: 'a,
    DB: Database,
    F: Fn(&'a P, &'a mut Sql<DB>, E) -> Fut + Send + Sync,
    Fut: Future<Output: Applied> + Send + 'a,
{
    type Future = Fut;

    fn apply(&self, projection: &'a P, sql: &'a mut Sql<DB>, event: E) -> Fut {
        self(projection, sql, event)
    }
}

/// A method, and which events it takes.
pub(super) struct Route<P, DB: Database> {
    pub(super) event: &'static str,
    pub(super) topics: TopicPattern,
    method: Box<dyn Method<P, DB>>,
}

impl<P: Send + Sync + 'static, DB: Database> Route<P, DB> {
    pub(super) fn one<E, F>(method: F) -> Self
    where
        E: Event,
        F: for<'a> Apply<'a, P, DB, E> + 'static,
    {
        Self::of::<E>(Box::new(One(method, PhantomData)))
    }

    pub(super) fn many<E, F>(method: F) -> Self
    where
        E: Event,
        F: for<'a> Apply<'a, P, DB, Vec<E>> + 'static,
    {
        Self::of::<E>(Box::new(Many(method, PhantomData)))
    }

    fn of<E: Event>(method: Box<dyn Method<P, DB>>) -> Self {
        Self {
            event: E::TYPE,
            topics: ensue::__private::topics(E::TOPIC),
            method,
        }
    }

    pub(super) fn takes(&self, event: &Envelope) -> bool {
        self.event == event.event_type() && self.topics.matches(event.topic())
    }

    /// Applies these events, all of which it takes; a panic is a failure.
    pub(super) async fn apply(
        &self,
        projection: &P,
        sql: &mut Sql<DB>,
        events: &[Recorded],
    ) -> Result<(), Failure> {
        let applied = self.method.apply(projection, sql, events);
        let contained = std::panic::AssertUnwindSafe(applied).catch_unwind().await;
        contained.unwrap_or_else(|panic| {
            let said = ensue::__private::message_of(panic);
            Err(Failure::retry(format!("it panicked: {said}")))
        })
    }
}

trait Method<P, DB: Database>: Send + Sync {
    fn apply<'a>(
        &'a self,
        projection: &'a P,
        sql: &'a mut Sql<DB>,
        events: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), Failure>>;
}

struct One<F, E>(F, PhantomData<fn(E)>);

impl<P, DB, E, F> Method<P, DB> for One<F, E>
where
    P: Send + Sync,
    DB: Database,
    E: Event,
    F: for<'a> Apply<'a, P, DB, E>,
{
    fn apply<'a>(
        &'a self,
        projection: &'a P,
        sql: &'a mut Sql<DB>,
        events: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            for event in events {
                let decoded = decode::<E>(event)?;
                sql.set_event(event);
                let applied = self.0.apply(projection, sql, decoded).await;
                applied.applied()?;
            }
            Ok(())
        })
    }
}

struct Many<F, E>(F, PhantomData<fn(E)>);

impl<P, DB, E, F> Method<P, DB> for Many<F, E>
where
    P: Send + Sync,
    DB: Database,
    E: Event,
    F: for<'a> Apply<'a, P, DB, Vec<E>>,
{
    fn apply<'a>(
        &'a self,
        projection: &'a P,
        sql: &'a mut Sql<DB>,
        events: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let decoded: Result<Vec<E>, Failure> = events.iter().map(decode).collect();
            let decoded = decoded?;
            if let Some(last) = events.last() {
                sql.set_event(last);
            }
            let applied = self.0.apply(projection, sql, decoded).await;
            applied.applied()
        })
    }
}

fn decode<E: Event>(event: &Recorded) -> Result<E, Failure> {
    event.envelope.decode().map_err(Failure::undecodable)
}
