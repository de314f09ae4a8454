//! The history of one aggregate, folded.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Aggregate, attributes};
use crate::engine::{Cursor, Position, Query, SharedEngine};
use crate::error::{AggregateError, Error, Result};
use crate::event::{Envelope, EventId};
use crate::topic::TopicPattern;

/// How many of the last decisions with an id an aggregate remembers, to know one that is repeated.
pub const DECISIONS_REMEMBERED: usize = 128;

/// An aggregate as its events have made it.
pub(super) struct History<A> {
    pub(super) state: A,
    /// How many events it has had.
    pub(super) version: u64,
    /// The last of them.
    pub(super) last: Option<Position>,
    /// Its id.
    pub(super) last_id: Option<EventId>,
    /// The service that has decided it.
    pub(super) decider: Option<String>,
    pub(super) decisions: VecDeque<Made>,
    /// The version that the newest snapshot has.
    pub(super) kept: u64,
}

/// A decision with an id that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) id: String,
    /// The version that it has led to.
    pub(super) version: u64,
    /// How many events it had.
    pub(super) events: u64,
    /// Where the last of them is.
    pub(super) position: Position,
}

impl<A: Aggregate> Default for History<A> {
    fn default() -> Self {
        Self {
            state: A::default(),
            version: 0,
            last: None,
            last_id: None,
            decider: None,
            decisions: VecDeque::new(),
            kept: 0,
        }
    }
}

impl<A: Aggregate> History<A> {
    /// Takes in what was appended since; whether that was anything.
    pub(super) async fn follow(&mut self, engine: &SharedEngine, key: &str) -> Result<bool> {
        let from = self.last.map(|last| last.next().into());
        let before = self.version;
        let mut query = query::<A>(key, from.unwrap_or(Cursor::START));
        loop {
            let page = engine.read(query.clone()).await?;
            for recorded in page.events {
                if self.version == 0 && attributes::version(&recorded.envelope).is_none() {
                    check_whole::<A>(engine, key, recorded.position).await?;
                }
                self.take(key, recorded.position, &recorded.envelope)?;
            }
            if page.is_end {
                return Ok(self.version > before);
            }
            query.from = page.next;
        }
    }

    /// Takes in the next event.
    pub(super) fn take(&mut self, key: &str, position: Position, event: &Envelope) -> Result<()> {
        let next = self.version + 1;
        let said = attributes::version(event);
        if let Some(found) = said
            && found != next
        {
            let key = key.to_owned();
            return Err(Error::Aggregate(match self.version {
                0 => AggregateError::HistoryRemoved {
                    aggregate: A::NAME,
                    key,
                    position,
                },
                _ => AggregateError::Diverged {
                    aggregate: A::NAME,
                    key,
                    position,
                    expected: next,
                    found,
                },
            }));
        }
        self.apply(key, position, event)?;
        self.version = next;
        self.last = Some(position);
        self.last_id = Some(event.event_id());
        if said.is_some() {
            self.decider = event.extension(attributes::DECIDER).map(str::to_owned);
        }
        if let Some(id) = event.extension(attributes::DECISION) {
            self.remember(id, position);
        }
        Ok(())
    }

    fn apply(&mut self, key: &str, position: Position, event: &Envelope) -> Result<()> {
        if !A::EVENTS.contains(&event.event_type()) {
            return Err(Error::Aggregate(AggregateError::UnknownEvent {
                aggregate: A::NAME,
                key: key.to_owned(),
                event_type: event.event_type().to_owned(),
                position,
            }));
        }
        self.state.apply_envelope(event).map_err(|error| {
            Error::Aggregate(AggregateError::Undecodable {
                aggregate: A::NAME,
                key: key.to_owned(),
                position,
                error,
            })
        })
    }

    fn remember(&mut self, id: &str, position: Position) {
        let version = self.version;
        // All events of a decision follow one another.
        if let Some(last) = self.decisions.back_mut()
            && last.id == id
        {
            last.events += 1;
            (last.version, last.position) = (version, position);
            return;
        }
        if self.decisions.len() >= DECISIONS_REMEMBERED {
            self.decisions.pop_front();
        }
        self.decisions.push_back(Made {
            id: id.to_owned(),
            version,
            events: 1,
            position,
        });
    }

    /// The decision with this id, if it was made and is remembered.
    pub(super) fn made(&self, id: &str) -> Option<&Made> {
        self.decisions.iter().rev().find(|made| made.id == id)
    }
}

/// The events of the aggregate `key`, from there on.
pub(super) fn query<A: Aggregate>(key: &str, from: Cursor) -> Query {
    Query {
        topics: Some(TopicPattern::trusted(A::TOPIC)),
        key: Some(key.to_owned()),
        from,
        ..Query::default()
    }
}

/// An event that no one decided does not say whether it is the first: where retention has removed
/// something, that is not known.
async fn check_whole<A: Aggregate>(
    engine: &SharedEngine,
    key: &str,
    position: Position,
) -> Result<()> {
    if engine.health().await?.first == Cursor::START {
        return Ok(());
    }
    Err(Error::Aggregate(AggregateError::HistoryRemoved {
        aggregate: A::NAME,
        key: key.to_owned(),
        position,
    }))
}
