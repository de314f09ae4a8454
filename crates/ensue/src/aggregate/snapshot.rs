//! Snapshots: the state of an aggregate as of one of its events, so that loading reads what came after.
//!
//! A snapshot only saves time. It is an event in a topic that no pattern of the users' matches; what is of
//! another version, does not decode, or names an event that the log does not have there is thrown away,
//! and so is one that cannot be read or written.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::history::{History, Made, query};
use super::{Aggregate, attributes};
use crate::engine::{Position, SharedEngine};
use crate::error::{Error, Result};
use crate::event::{Codec, Envelope, EventId};
use crate::topic::SNAPSHOTS;

/// The largest state of which a snapshot is kept, in bytes as it is written. A larger one is folded from
/// the log each time it is loaded.
pub const SNAPSHOT_BYTES_MAX: usize = 1024 * 1024;

/// What happened, to whom who reads the log.
const TYPE: &str = "ensue.snapshot";
const SOURCE: &str = "/ensue/snapshots";

#[derive(Serialize)]
struct Written<'a, A> {
    version: u64,
    position: Position,
    id: &'a EventId,
    decider: Option<&'a str>,
    decisions: &'a VecDeque<Made>,
    state: &'a A,
}

#[derive(Deserialize)]
struct Kept<A> {
    version: u64,
    position: Position,
    id: EventId,
    decider: Option<String>,
    decisions: VecDeque<Made>,
    state: A,
}

fn topic<A: Aggregate>() -> String {
    format!("{SNAPSHOTS}{}", A::NAME)
}

/// The aggregate `key` as the log has it.
pub(super) async fn load<A: Aggregate>(engine: &SharedEngine, key: &str) -> Result<History<A>> {
    if let Some(history) = by_snapshot(engine, key).await? {
        return Ok(history);
    }
    let mut history = History::default();
    history.follow(engine, key).await?;
    Ok(history)
}

/// The same by its newest snapshot and what came after, if there is one that the log bears out.
async fn by_snapshot<A: Aggregate>(engine: &SharedEngine, key: &str) -> Result<Option<History<A>>> {
    if A::SNAPSHOT_EVERY == 0 {
        return Ok(None);
    }
    let newest = match engine.last(&topic::<A>(), key).await {
        Ok(newest) => newest,
        Err(error) => {
            tracing::debug!(aggregate = A::NAME, key, %error, "cannot look for a snapshot");
            return Ok(None);
        }
    };
    let Some(newest) = newest else {
        return Ok(None);
    };
    let Some(kept) = read::<A>(&newest.envelope) else {
        let version = newest.envelope.version();
        tracing::debug!(
            aggregate = A::NAME,
            key,
            version,
            "a snapshot is of no use to this program"
        );
        return Ok(None);
    };
    if !is_borne_out(engine, key, &kept).await? {
        tracing::debug!(aggregate = A::NAME, key, position = %kept.position, "a snapshot is not of this log");
        return Ok(None);
    }
    let mut history = History {
        state: kept.state,
        version: kept.version,
        last: Some(kept.position),
        last_id: Some(kept.id),
        decider: kept.decider,
        decisions: kept.decisions,
        kept: kept.version,
    };
    history.follow(engine, key).await?;
    Ok(Some(history))
}

fn read<A: Aggregate>(snapshot: &Envelope) -> Option<Kept<A>> {
    let is_known = snapshot.event_type() == TYPE && snapshot.version() == A::VERSION;
    let codec = snapshot.codec().ok().filter(|_| is_known)?;
    codec.decode(snapshot.payload()).ok()
}

/// Whether the log has, where the snapshot says it is, the event that the snapshot says it ends with.
async fn is_borne_out<A: Aggregate>(
    engine: &SharedEngine,
    key: &str,
    kept: &Kept<A>,
) -> Result<bool> {
    let mut one = query::<A>(key, kept.position.into());
    one.until = Some(kept.position.next().into());
    let page = match engine.read(one).await {
        Ok(page) => page,
        // There is no such place, or not any more.
        Err(Error::Read(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let found = page.events.first().map(|it| &it.envelope);
    Ok(found.is_some_and(|event| {
        let version = attributes::version(event);
        event.event_id() == kept.id && version.is_none_or(|version| version == kept.version)
    }))
}

/// Keeps a snapshot if it is time for one.
pub(super) async fn keep<A: Aggregate>(engine: &SharedEngine, key: &str, history: &mut History<A>) {
    let every = u64::from(A::SNAPSHOT_EVERY);
    if every == 0 || history.version - history.kept < every {
        return;
    }
    // Also if it fails: not again with the next event.
    history.kept = history.version;
    if let Err(error) = write(engine, key, history).await {
        tracing::debug!(aggregate = A::NAME, key, %error, "no snapshot is kept");
    }
}

async fn write<A: Aggregate>(engine: &SharedEngine, key: &str, history: &History<A>) -> Result<()> {
    let (Some(position), Some(id)) = (history.last, &history.last_id) else {
        return Ok(());
    };
    let written = Codec::MessagePack.encode(&Written {
        version: history.version,
        position,
        id,
        decider: history.decider.as_deref(),
        decisions: &history.decisions,
        state: &history.state,
    });
    let payload = written.map_err(crate::event::InvalidEvent::from)?;
    if payload.len() > SNAPSHOT_BYTES_MAX {
        let bytes = payload.len();
        tracing::warn!(
            aggregate = A::NAME,
            key,
            bytes,
            SNAPSHOT_BYTES_MAX,
            "the state is too large for a snapshot: it is folded from the log each time it is loaded"
        );
        return Ok(());
    }
    let snapshot = Envelope::builder(topic::<A>(), TYPE)
        .key(key)
        .source(SOURCE)
        .time(engine.clock().now())
        .version(A::VERSION)
        .payload(Codec::MessagePack, payload)
        .build()?;
    engine.append(vec![snapshot.into()]).await?;
    Ok(())
}
