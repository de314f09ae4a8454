//! Reading events one after the other.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::Stream;

use crate::engine::{Cursor, Page, Query, READ_EVENTS_MAX, Recorded, SharedEngine};
use crate::error::{EngineError, Error, Result};

/// How many events are read ahead: a page of the engine's.
const PAGE_EVENTS_MAX: usize = if READ_EVENTS_MAX < 1_000 {
    READ_EVENTS_MAX
} else {
    1_000
};

/// Events of a log, those of a topic and key in append order: what [`Engine::read`](crate::Engine::read)
/// and [`Engine::tail`](crate::Engine::tail) give.
///
/// A [`Stream`], and without any of its helpers [`Events::next`]. It reads ahead by one page and no
/// further than it is asked. The first error is the last item; a closed engine is the end.
#[must_use = "events are read when they are asked for"]
pub struct Events {
    engine: SharedEngine,
    /// What is still to be read.
    query: Query,
    /// How many events are still to be read; `None` is all.
    left: Option<usize>,
    follows: bool,
    page: vec::IntoIter<Recorded>,
    step: Step,
}

/// What is done when the page is used up.
enum Step {
    Read,
    Reading(BoxFuture<'static, Result<Page>>),
    Waiting(BoxFuture<'static, Result<()>>),
    End,
}

impl Events {
    pub(crate) fn new(engine: SharedEngine, query: Query) -> Self {
        Self {
            engine,
            left: (query.limit > 0).then_some(query.limit),
            query,
            follows: false,
            page: Vec::new().into_iter(),
            step: Step::Read,
        }
    }

    /// Goes on at the end of the log with what comes.
    pub fn follow(mut self) -> Self {
        self.follows = true;
        self
    }

    /// The next event; `None` when there are no more. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Recorded>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Where to go on later: [`Query::from`] of a read that begins after the events that this has
    /// given.
    pub fn cursor(&self) -> Cursor {
        let next = self.page.as_slice().first();
        next.map_or_else(
            || self.query.from.clone(),
            |recorded| recorded.position.into(),
        )
    }

    fn read(&self) -> Step {
        let (engine, mut query) = (self.engine.clone(), self.query.clone());
        query.limit = self.left.unwrap_or(usize::MAX).min(PAGE_EVENTS_MAX);
        Step::Reading(async move { engine.read(query).await }.boxed())
    }

    fn wait(&self) -> Step {
        let (engine, from) = (self.engine.clone(), self.query.from.clone());
        Step::Waiting(async move { engine.wait(from).await }.boxed())
    }

    /// Takes a page, and decides what comes after it.
    fn take(&mut self, page: Page) {
        let is_stuck = page.events.is_empty() && page.next == self.query.from;
        let until = self.query.until.as_ref();
        let is_past = until.is_some_and(|until| page.next >= *until);
        self.query.from = page.next;
        self.left = self.left.map(|left| left.saturating_sub(page.events.len()));
        self.page = page.events.into_iter();
        self.step = match page.is_end || is_stuck {
            _ if is_past || self.left == Some(0) => Step::End,
            false => Step::Read,
            true if self.follows => self.wait(),
            true => Step::End,
        };
    }
}

impl Stream for Events {
    type Item = Result<Recorded>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(recorded) = this.page.next() {
                return Poll::Ready(Some(Ok(recorded)));
            }
            let failed = match &mut this.step {
                Step::Read => {
                    this.step = this.read();
                    continue;
                }
                Step::Reading(reading) => match ready!(reading.as_mut().poll(cx)) {
                    Ok(page) => {
                        this.take(page);
                        continue;
                    }
                    Err(error) => error,
                },
                Step::Waiting(waiting) => match ready!(waiting.as_mut().poll(cx)) {
                    Ok(()) => {
                        this.step = Step::Read;
                        continue;
                    }
                    Err(error) => error,
                },
                Step::End => return Poll::Ready(None),
            };
            this.step = Step::End;
            return Poll::Ready(match failed {
                Error::Engine(EngineError::Closed) => None,
                error => Some(Err(error)),
            });
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("query", &self.query)
            .field("follows", &self.follows)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(feature = "embedded")]
mod tests {
    use super::*;
    use crate::error::ReadError;
    use crate::event::Envelope;
    use crate::outgoing::Outgoing;
    use crate::{Engine, Position};

    async fn engine_with(events: usize) -> Engine {
        let engine = Engine::open("memory:").await.unwrap();
        publish(&engine, 0..events).await;
        engine
    }

    async fn publish(engine: &Engine, keys: std::ops::Range<usize>) {
        let event = |key: usize| {
            let builder = Envelope::builder("things", "thing.happened");
            Outgoing::raw(builder.key(key.to_string()))
        };
        let publisher = engine.publisher("/test");
        publisher.publish_all(keys.map(event)).await.unwrap();
    }

    async fn keys(mut events: Events) -> Vec<usize> {
        let mut keys = Vec::new();
        while let Some(event) = events.next().await {
            keys.push(event.unwrap().envelope.key().parse().unwrap());
        }
        keys
    }

    #[tokio::test]
    async fn a_read_gives_everything_it_is_asked_for_over_many_pages_and_ends() {
        let engine = engine_with(2_500).await;
        let all: Vec<usize> = (0..2_500).collect();
        assert_eq!(keys(engine.read(Query::default())).await, all);
        for limit in [1, 1_000, 1_001, 2_400] {
            let query = Query {
                limit,
                ..Query::default()
            };
            assert_eq!(keys(engine.read(query)).await, all[..limit]);
        }
        let mut first = engine.read(Query::default());
        for _ in 0..1_500 {
            first.next().await.unwrap().unwrap();
        }
        let rest = Query {
            from: first.cursor(),
            ..Query::default()
        };
        assert_eq!(keys(engine.read(rest)).await, all[1_500..]);
        let until = Query {
            until: Some(first.cursor()),
            ..Query::default()
        };
        assert_eq!(keys(engine.read(until).follow()).await, all[..1_500]);
    }

    #[tokio::test]
    async fn a_tail_gives_what_comes_from_now_on_until_the_engine_is_closed() {
        let engine = engine_with(3).await;
        let mut tail = engine.tail("things").await.unwrap();
        // Given up on and asked again: nothing is lost.
        assert!(tail.next().now_or_never().is_none());
        publish(&engine, 3..5).await;
        for key in ["3", "4"] {
            let event = tail.next().await.unwrap().unwrap();
            assert_eq!(event.envelope.key(), key);
        }
        assert!(tail.next().now_or_never().is_none());
        engine.close().await.unwrap();
        assert!(tail.next().await.is_none());
        assert!(tail.next().await.is_none());
    }

    #[tokio::test]
    async fn an_error_is_the_last_that_a_read_gives() {
        let engine = engine_with(1).await;
        let beyond = Query {
            from: Position::new(1_000).into(),
            ..Query::default()
        };
        let mut events = engine.read(beyond).follow();
        let error = events.next().await.unwrap().unwrap_err();
        assert!(
            matches!(error, Error::Read(ReadError::BeyondEnd { .. })),
            "{error}"
        );
        assert!(events.next().await.is_none());
    }
}
