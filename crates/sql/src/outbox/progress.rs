//! How far a relay came: an event in the engine, appended together with what it relayed.
//!
//! It is the only place where a row's fate is decided. Each is appended on condition that the one before it
//! is still the last of its outbox, so that of two relays that decide at the same time one has decided
//! nothing. What the database does with its rows follows from it, as often as that is asked for.

use ensue::engine::{Append, Appended, Expect};
use ensue::{Codec, Engine, Envelope, EventId, Position, Timestamp};
use serde::{Deserialize, Serialize};

use super::row_ids::RowIds;
use crate::error::{Error, Result};

/// Where they are. The key is the outbox's identity.
const TOPIC: &str = "_outbox";
const TYPE: &str = "outbox.relayed";
/// Who writes them.
pub(super) const SOURCE: &str = "/outbox";

/// What became of some rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The number of this batch, from 1.
    pub(super) batch: i64,
    /// The id of the progress before this one.
    pub(super) previous: Option<String>,
    /// The rows whose events are appended with this.
    pub(super) relayed: RowIds,
    /// What tells those events from others that rows with the same numbers may have, once the database was
    /// put back from a backup: see [`Check`].
    pub(super) check: Check,
    /// The rows that the engine refuses.
    pub(super) refused: Vec<Refused>,
    /// The rows whose key has a row that was refused.
    pub(super) behind: RowIds,
}

/// A row that the engine refuses, whenever it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refused {
    pub(super) row: i64,
    pub(super) reason: String,
}

/// The sum of the identities of events: the same for the same events in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Check(String);

impl Check {
    pub(super) fn of<'a>(events: impl Iterator<Item = &'a Envelope>) -> Self {
        let sum = events.fold(0_u128, |sum, event| sum.wrapping_add(event.identity()));
        Self(format!("{sum:032x}"))
    }
}

/// A progress that is in the engine, or is to be.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) id: String,
    pub(super) progress: Progress,
}

impl Recorded {
    /// The progress after `previous`, which is not in the engine yet.
    pub(super) fn after(previous: Option<&str>, batch: i64, progress: Progress) -> Self {
        Self {
            // Not derived from anything: two relays that decide on the same rows have decided differently.
            id: format!("{:032x}", fastrand::u128(..)),
            progress: Progress {
                batch,
                previous: previous.map(str::to_owned),
                ..progress
            },
        }
    }

    /// As an append: on condition that the last progress is where it is expected to be.
    pub(super) fn append(
        &self,
        identity: &str,
        expect: Option<Position>,
        now: Timestamp,
    ) -> Result<Append> {
        let payload = Codec::Json.encode(&self.progress);
        let payload = payload.map_err(ensue::InvalidEvent::from);
        let envelope = payload.and_then(|payload| {
            let builder = Envelope::builder(TOPIC, TYPE).key(identity).source(SOURCE);
            let builder = builder.id(self.id.as_str()).time(now);
            builder.payload(Codec::Json, payload).build()
        });
        Ok(Append {
            envelope: envelope.map_err(ensue::Error::from)?,
            expect: expect.map(Expect::At),
            schedule: None,
        })
    }
}

/// The last progress of an outbox in an engine, and where it is.
pub(super) async fn last(engine: &Engine, identity: &str) -> Result<Option<(Recorded, Position)>> {
    let Some(found) = engine.last(TOPIC, identity).await? else {
        return Ok(None);
    };
    let progress = Codec::Json.decode(found.envelope.payload());
    let progress = progress.map_err(|error| Error::Progress {
        position: found.position,
        reason: error.to_string(),
    })?;
    let id = found.envelope.id().to_owned();
    Ok(Some((Recorded { id, progress }, found.position)))
}

/// Whether the log has an event, as far as it goes back.
pub(super) async fn has(engine: &Engine, event: &Envelope) -> Result<bool> {
    let wanted: EventId = event.event_id();
    let mut events = engine.read(ensue::engine::Query {
        topics: Some(event.topic().parse().map_err(ensue::Error::from)?),
        key: Some(event.key().to_owned()),
        ..ensue::engine::Query::default()
    });
    while let Some(found) = events.next().await {
        if found?.envelope.event_id() == wanted {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where the last of a batch is.
pub(super) fn position_of_last(appended: &[Appended]) -> Result<Position> {
    let last = appended.last().map(|it| it.position);
    // One result for each event is the engine's contract.
    last.ok_or(Error::Engine(ensue::error::EngineError::Closed.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_tells_other_events_and_not_another_order() {
        let event = |id: &str| Envelope::builder("t", "e").id(id).build().unwrap();
        let (a, b, c) = (event("a"), event("b"), event("c"));
        assert_eq!(
            Check::of([&a, &b].into_iter()),
            Check::of([&b, &a].into_iter())
        );
        assert_ne!(
            Check::of([&a, &b].into_iter()),
            Check::of([&a, &c].into_iter())
        );
    }

    #[test]
    fn two_progresses_of_the_same_rows_are_two_events() {
        let progress = Progress {
            relayed: [1, 2].into_iter().collect(),
            ..Progress::default()
        };
        let one = Recorded::after(None, 1, progress.clone());
        let other = Recorded::after(None, 1, progress);
        assert_ne!(one.id, other.id);
    }
}
