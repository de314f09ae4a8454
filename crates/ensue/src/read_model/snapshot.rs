//! Snapshots of a model's value: what a process that starts need not read again.
//!
//! As with those of aggregates, one that the log does not bear out is not used.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::view::{Built, View};
use crate::engine::{Cursor, Position, Query, Recorded, SharedEngine};
use crate::error::{Error, Result};
use crate::event::{Codec, DecodeError, EncodeError, Envelope, EventId, InvalidEvent};
use crate::topic::SNAPSHOTS;

/// The largest snapshot of a read model that is kept, in bytes as it is written.
pub const READ_MODEL_SNAPSHOT_BYTES_MAX: usize = 4 * 1024 * 1024;

const TYPE: &str = "ensue.snapshot";
const SOURCE: &str = "/ensue/snapshots";

/// How the values of a model become snapshots, and come back.
pub(super) struct Snapshots<T> {
    /// After how many events.
    pub(super) every: u64,
    encode: fn(&Head, &T) -> Result<Vec<u8>, EncodeError>,
    decode: fn(Codec, &[u8]) -> Decoded<T>,
}

type Decoded<T> = Result<(Head, T), DecodeError>;

/// What a snapshot says besides the value.
#[derive(Serialize, Deserialize)]
struct Head {
    revision: u32,
    next: Cursor,
    /// An event that the log has to have, where this says.
    last: (Position, EventId),
    left_out: Vec<(Position, String)>,
}

#[derive(Serialize)]
struct Written<'a, T> {
    head: &'a Head,
    value: &'a T,
}

#[derive(Deserialize)]
struct Kept<T> {
    head: Head,
    value: T,
}

impl<T: Serialize + DeserializeOwned> Snapshots<T> {
    pub(super) fn every(events: u64) -> Self {
        Self {
            every: events,
            encode: |head, value| Codec::MessagePack.encode(&Written { head, value }),
            decode: |codec, bytes| {
                let Kept { head, value } = codec.decode(bytes)?;
                Ok((head, value))
            },
        }
    }
}

fn topic(model: &str) -> String {
    format!("{SNAPSHOTS}view.{model}")
}

impl<T> Snapshots<T> {
    /// The newest snapshot that the log bears out.
    pub(super) async fn load(
        &self,
        engine: &SharedEngine,
        (model, revision): (&str, u32),
    ) -> Result<Option<Built<T>>> {
        let Some(newest) = engine.last(&topic(model), model).await? else {
            return Ok(None);
        };
        let codec = newest.envelope.codec().ok();
        let kept = codec.and_then(|codec| (self.decode)(codec, newest.envelope.payload()).ok());
        let Some((head, value)) = kept.filter(|(head, _)| head.revision == revision) else {
            tracing::debug!(model, position = %newest.position, "a snapshot is of no use to this program");
            return Ok(None);
        };
        if !has(engine, &head.last).await? {
            tracing::debug!(model, position = %newest.position, "a snapshot is not of this log");
            return Ok(None);
        }
        Ok(Some(Built {
            value,
            next: head.next,
            left_out: head.left_out.into_iter().collect(),
        }))
    }

    /// Writes one, of which `last` is the last event.
    pub(super) async fn write(
        &self,
        engine: &SharedEngine,
        (model, revision): (&str, u32),
        (view, last): (&View<T>, &Recorded),
    ) -> Result<()> {
        let written = view.built(|built| {
            let head = Head {
                revision,
                next: built.next.clone(),
                last: (last.position, last.envelope.event_id()),
                left_out: listed(&built.left_out),
            };
            (self.encode)(&head, &built.value)
        });
        let payload = written.map_err(InvalidEvent::from)?;
        if payload.len() > READ_MODEL_SNAPSHOT_BYTES_MAX {
            let bytes = payload.len();
            tracing::warn!(
                model,
                bytes,
                READ_MODEL_SNAPSHOT_BYTES_MAX,
                "the value is too large for a snapshot: a process that starts folds it from the log"
            );
            return Ok(());
        }
        let snapshot = Envelope::builder(topic(model), TYPE)
            .key(model)
            .source(SOURCE)
            .time(engine.clock().now())
            .payload(Codec::MessagePack, payload)
            .build()?;
        engine.append(vec![snapshot.into()]).await?;
        Ok(())
    }
}

fn listed(left_out: &BTreeMap<Position, String>) -> Vec<(Position, String)> {
    let all = left_out.iter();
    all.map(|(position, reason)| (*position, reason.clone()))
        .collect()
}

/// Whether the log has this event there.
async fn has(engine: &SharedEngine, (position, id): &(Position, EventId)) -> Result<bool> {
    let one = Query {
        from: (*position).into(),
        until: Some(position.next().into()),
        ..Query::default()
    };
    match engine.read(one).await {
        Ok(page) => Ok(page
            .events
            .first()
            .is_some_and(|it| it.envelope.event_id() == *id)),
        // There is no such place, or not any more.
        Err(Error::Read(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
