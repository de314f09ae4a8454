//! What the embedded engine writes into the log: events, and the bodies of the control records.
//!
//! Users' events are records of kind [`EVENT`]: topic and key as they are, the body as in
//! [`Envelope::body`], and for dedup an id of 128 bits made from the event's source and id.
//! Everything else is a *control record*: its topic starts with `_ensue.`, its kind is one of
//! [`Change`](super::change::Change)'s, its body a MessagePack map with the fields of that variant under their names, so
//! that later versions can add some. Unknown fields are ignored, an unknown kind is not.
//!
//! | kind | topic | key | what happened |
//! | --- | --- | --- | --- |
//! | 0 | the event's | the event's | an event was appended |
//! | 1 | `_ensue.groups` | group | a member joined; the first one creates the group |
//! | 2 | `_ensue.groups` | group | a member left |
//! | 3 | `_ensue.groups` | group | a commit: settled, retried, parked, dead events, state, backlogs of keys |
//! | 4 | `_ensue.groups` | group | an attempt began, before its event was delivered |
//! | 5 | `_ensue.groups` | group | dead letters were redriven |
//! | 6 | `_ensue.groups` | group | dead letters were discarded |
//! | 7 | `_ensue.groups` | group | the group was moved, and began another run through the log |
//! | 8 | `_ensue.groups` | group | the group was deleted |
//! | 9 | `_ensue.schedules` | its name | an event was scheduled; the body holds it |
//! | 10 | `_ensue.schedules` | empty | scheduled events were appended |
//! | 11 | `_ensue.schedules` | empty | scheduled events were cancelled |
//! | 12 | `_ensue.processes` | empty | a process joined those that share the log; those before it in its directory are gone |
//! | 13 | `_ensue.processes` | empty | a process is gone: it said so, or others did |
//! | 14 | `_ensue.groups` | group | a process gave slots of the group away |
//! | 15 | `_ensue.processes` | empty | a frame of the shared log ended here |
//! | 16 | `_ensue.migration` | empty | another log is being copied into this one, which was empty |
//! | 17 | `_ensue.groups` | group | a group of that log, or a part of one, with this log's positions |
//! | 18 | `_ensue.migration` | empty | the copy is complete |
//!
//! Those of 12 to 15 are in replicas of a shared log only.

use bytes::Bytes;
use ensue_log as log;
use serde::{Deserialize, Serialize};

use crate::engine::{DeathCause, Position, ReplayEffects, ReplayState};
use crate::error::{EngineError, Error, Result};
use crate::event::{Envelope, EventId};
use crate::ids::{
    FrameNumber, MemberId, ProcessId, Seal, Secret, Slot, Turn, WriterId, member_or_zero,
};
use crate::model::position_set::Settled;
use crate::time::Timestamp;
use crate::topic::TopicPattern;

/// The kind of the users' events.
pub(crate) const EVENT: u8 = 0;
/// What the topics of control records start with; no user's event may go there.
pub(crate) const CONTROL: &str = "_ensue.";
/// The longest reason that is kept, in bytes; what is longer is cut.
pub(crate) const REASON_BYTES_MAX: usize = 1024;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Joined {
    pub(crate) group: String,
    pub(crate) member: MemberId,
    /// Which opening of the log the member lives in.
    pub(crate) boot: ProcessId,
    pub(crate) topics: Vec<TopicPattern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) types: Option<Vec<String>>,
    /// Where the group starts, if this record creates it.
    pub(crate) start: Position,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Left {
    pub(crate) group: String,
    pub(crate) member: MemberId,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Committed {
    pub(crate) group: String,
    /// Without one it is the engine itself, which parks events and moves past those that match
    /// nothing.
    #[serde(with = "member_or_zero")]
    pub(crate) member: Option<MemberId>,
    /// When.
    pub(crate) at: Timestamp,
    /// What the group need not read again, whatever became of it.
    #[serde(default, skip_serializing_if = "Settled::is_empty")]
    pub(crate) settled: Settled,
    /// Retried and parked events that are done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) done: Vec<Position>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) retries: Vec<Retried>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parked: Vec<Parked>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) dead: Vec<Died>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cells: Vec<CellWrite>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) deferred: Vec<Deferred>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Retried {
    pub(crate) position: Position,
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) attempt: u32,
    pub(crate) due: Timestamp,
    pub(crate) reason: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parked {
    pub(crate) position: Position,
    pub(crate) topic: String,
    pub(crate) key: String,
}

/// What becomes of a key's backlog: of its events that wait in the log alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deferred {
    pub(crate) topic: String,
    pub(crate) key: String,
    /// Where the backlog starts, if the key has none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) start: Option<Position>,
    /// How many more events wait there.
    #[serde(default)]
    pub(crate) added: u64,
    /// Those of them that the key's lane takes up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) taken: Vec<Position>,
    /// Where it starts from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<Position>,
    /// Nothing is left of it.
    #[serde(default)]
    pub(crate) is_over: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Died {
    pub(crate) position: Position,
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) kind: String,
    pub(crate) attempts: u32,
    pub(crate) cause: DeathCause,
    pub(crate) reason: String,
    /// Whether later events of the key park behind it.
    pub(crate) blocks: bool,
    /// Whether they do although they were to be handled: nothing more can be put aside.
    #[serde(default)]
    pub(crate) is_stopped: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CellWrite {
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Bytes>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Begun {
    pub(crate) group: String,
    pub(crate) begins: Vec<Begin>,
    pub(crate) boot: ProcessId,
}

/// An attempt that begins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub(crate) position: Position,
    pub(crate) attempt: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Redriven {
    pub(crate) group: String,
    pub(crate) positions: Vec<Position>,
    pub(crate) at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Discarded {
    pub(crate) group: String,
    pub(crate) positions: Vec<Position>,
    pub(crate) at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reset {
    pub(crate) group: String,
    pub(crate) to: Position,
    pub(crate) at: Timestamp,
    pub(crate) effects: ReplayEffects,
    pub(crate) state: ReplayState,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deleted {
    pub(crate) group: String,
    pub(crate) at: Timestamp,
}

/// The event itself stays in the log: memory holds its position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scheduled {
    /// What it goes by: its source, with the name of its timer or its id.
    pub(crate) name: EventId,
    /// Whether it is a timer's: then it takes the place of what is pending under that name, instead
    /// of changing nothing.
    pub(crate) is_timer: bool,
    pub(crate) at: Timestamp,
    pub(crate) topic_bytes: usize,
    pub(crate) key_bytes: usize,
    /// Topic, key and body of the event. Empty in memory once it is in the log.
    pub(crate) content: Bytes,
}

impl Scheduled {
    /// The event.
    pub(crate) fn envelope(self) -> Result<Envelope> {
        let Self {
            content,
            topic_bytes,
            key_bytes,
            ..
        } = self;
        Ok(Envelope::from_content(content, topic_bytes, key_bytes)?)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fired {
    pub(crate) events: Vec<Firing>,
}

/// A scheduled event that is appended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Firing {
    pub(crate) name: EventId,
    /// Where it was scheduled: its name may stand for another event by now.
    pub(crate) position: Position,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cancelled {
    pub(crate) names: Vec<EventId>,
}

/// The position of this record is the process's number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Opened {
    pub(crate) writer: WriterId,
    /// For people.
    pub(crate) name: String,
    /// How long it may be silent, in microseconds.
    #[serde(default)]
    pub(crate) lease_micros: u64,
    /// The seal of its secret (`replica::succession`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seal: Option<Seal>,
    /// The secrets of the processes before it in its directory, which have ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) follows: Vec<Secret>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gone {
    pub(crate) boot: ProcessId,
    /// Its last frame, as known to the process that took it for dead: if it has written since, it lives.
    pub(crate) counter: Option<FrameNumber>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Released {
    pub(crate) group: String,
    pub(crate) boot: ProcessId,
    /// Which assignment of slots it answers.
    pub(crate) turn: Turn,
    pub(crate) slots: Vec<Slot>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Framed {
    pub(crate) writer: WriterId,
    pub(crate) counter: FrameNumber,
    /// Where the frame ended in the shared log, and the checksum of its last message.
    pub(crate) sequence: u64,
    pub(crate) checksum: u32,
    /// From where the shared log has to be read to go on.
    pub(crate) resume: u64,
    /// The log's time since then, and what its writer says, if that counts: in microseconds since
    /// the Unix epoch.
    pub(crate) time: i64,
    pub(crate) claimed: Option<i64>,
}

/// Groups and schedules that an interrupted copy left are forgotten, its events stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Migrating {
    /// The URL of the other log, without secrets: for people.
    pub(crate) from: String,
    /// The process that copies: no other may write until it is done.
    pub(crate) boot: ProcessId,
    /// Whether events were removed from the other log by retention, or from one that it is a copy of.
    pub(crate) is_trimmed: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Migrated {
    /// How many events were copied.
    pub(crate) events: u64,
}

/// Adds an event to `batch`.
pub(crate) fn push_event(batch: &mut log::Batch, envelope: &Envelope) -> Result<()> {
    let record = log::Record {
        kind: EVENT,
        id: Some(envelope.identity()),
        topic: envelope.topic(),
        key: envelope.key().as_bytes(),
        body: envelope.body(),
    };
    batch.push(&record).map_err(crate::log_error::of_log)
}

/// The event of an entry, sharing the entry's memory.
pub(crate) fn envelope_of(entry: &log::Entry<'_>) -> Result<Envelope> {
    Envelope::from_content(entry.content(), entry.topic_len(), entry.key_len()).map_err(|error| {
        Error::Engine(EngineError::Corrupt(format!(
            "the event at position {}: {error}",
            entry.position
        )))
    })
}

/// `reason`, cut to [`REASON_BYTES_MAX`] at a character.
pub(crate) fn shorten(reason: &str) -> String {
    if reason.len() <= REASON_BYTES_MAX {
        return reason.to_owned();
    }
    let mut cut = REASON_BYTES_MAX;
    while !reason.is_char_boundary(cut) {
        cut -= 1;
    }
    let (kept, _) = reason.split_at(cut);
    format!("{kept}…")
}
