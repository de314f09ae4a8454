//! The contract: what every engine does, and how an app finds out what it does not.
//!
//! An engine is where the log lives. All of them pass one suite (the crate
//! `ensue-conformance`); what an engine's backend lacks, the engine emulates or declares missing in its
//! [`Guarantees`].
//!
//! | promise | where |
//! | --- | --- |
//! | an append is durable and atomic for the whole batch when it returns | [`Driver::append`] |
//! | an id that was appended within the dedup window is not appended again | [`Driver::append`] |
//! | events of a topic and key are handled in order, one at a time, in every group | [`Driver::join`] |
//! | a failure blocks only its key; nothing is settled before its dead letter is durable | [`Member::commit`] |
//! | settlements, effects and state of many events are one commit | [`Member::commit`] |
//! | an event can be appended for later, survives restarts, can be cancelled | [`Append::schedule`], [`Driver::cancel`] |
//! | reading needs no group | [`Driver::read`] |

#[doc(hidden)]
mod finding;
mod forward;
mod guarantees;
mod letters;
mod limits;
#[doc(hidden)]
pub mod options;
mod progress;
mod query;
mod replay;
mod schedule;
mod schemes;
mod status;
mod url;
mod vault;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::event::{Envelope, EventId, Redacted};
use crate::time::{Clock, Timestamp};
use crate::topic::TopicPattern;

#[doc(hidden)]
pub use crate::forward_engine;

pub use self::finding::Finding;
pub use self::guarantees::{Atomicity, DedupWindow, Guarantee, Guarantees};
pub use self::letters::{DeadLetter, DeadLetterFilter};
pub use self::limits::*;
pub use self::progress::{EventProgress, Handling};
pub use self::query::{Page, Query, Recorded};
pub use self::replay::{ReplayEffects, ReplayState, Reset, ResetPlan, Run};
pub use self::schedule::{Schedule, Scheduled};
pub use self::schemes::Scheme;
pub use self::status::{
    EngineStatus, GroupStatus, Health, KeyBacklog, MemberStatus, Needed, TopicStatus,
};
#[doc(hidden)]
pub use self::url::Url;
pub use self::url::directory_of;
pub use self::vault::Vault;
pub use crate::cursor::{Cursor, InvalidCursor};
pub use crate::position::Position;

/// What a conditional append expects of its event's key (optimistic concurrency).
///
/// The version of a key in a topic is the position of its last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key has no event in the topic, and never had one: once retention has removed anything,
    /// a key of which nothing is left cannot be told from a new one, and
    /// [`AppendError::VersionRemoved`](crate::error::AppendError::VersionRemoved) says so.
    Absent,
    /// The key's last event in the topic is at this position, which retention has not removed.
    At(Position),
}

/// One event to append, now or later.
#[derive(Clone, Debug)]
pub struct Append {
    /// The event.
    pub envelope: Envelope,
    /// Append the whole batch only if this holds.
    pub expect: Option<Expect>,
    /// Append it later; `None` is now.
    pub schedule: Option<Schedule>,
}

impl From<Envelope> for Append {
    fn from(envelope: Envelope) -> Self {
        Self {
            envelope,
            expect: None,
            schedule: None,
        }
    }
}

/// What became of one event of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Appended {
    /// Where the event is; for a duplicate, where it was first. One event is in one partition: this is
    /// what [`Expect::At`] compares. To read or start from there, make it a [`Cursor`].
    pub position: Position,
    /// The id was appended before, within the dedup window, or is scheduled already.
    pub is_duplicate: bool,
}

/// Where a new group starts, and where a reset moves one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the oldest event there is.
    #[default]
    Earliest,
    /// After the newest event there is.
    Latest,
    /// At this place, which the log has and retention has not removed.
    Cursor(Cursor),
    /// At the first event that was appended at or after this time, which is not in the future.
    Time(Timestamp),
}

/// What a member wants of its group.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The group's name; members with equal names share the events.
    pub group: String,
    /// Which topics; an event is delivered once even when several match.
    pub topics: Vec<TopicPattern>,
    /// Which types; `None` is every type. Others count as settled.
    pub types: Option<Vec<String>>,
    /// Where the group starts if it is new.
    pub start: Start,
    /// How many events this member holds unsettled at the most.
    pub in_flight_max: usize,
}

/// One event on its way to a handler.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event.
    pub envelope: Envelope,
    /// Where it is.
    pub position: Position,
    /// Which attempt this is, from 1: failed attempts that were committed, and deliveries that
    /// ended their process, have been counted.
    pub attempt: u32,
    /// How many blocking outcomes (retries and dead letters) the group had committed when this
    /// event was taken: one that was taken before [`Committed::generation`] of its key's failure is
    /// stale and must be handed back as [`Commit::parked`], with or before the commit that settles
    /// what failed: an engine may not know that it is out and let later events of the key go on.
    pub generation: u64,
    /// Which run of the group through the log it belongs to, and what that means for its effects.
    pub run: Run,
}

/// The number of the last attempt that is counted: those after it have the same one.
pub const ATTEMPT_MAX: u32 = u32::MAX - 1;

/// An event to be tried again. Its key waits for it.
#[derive(Clone, Debug)]
pub struct Retry {
    /// The event.
    pub envelope: Envelope,
    /// Where it is.
    pub position: Position,
    /// The attempt that failed, that of the delivery: from 1 to [`ATTEMPT_MAX`].
    pub attempt: u32,
    /// When to deliver it again.
    pub due: Timestamp,
    /// Why it failed.
    pub reason: String,
}

/// Why an event became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeathCause {
    /// Its payload is not what the handler reads.
    Undecodable,
    /// The handler said that trying again cannot help.
    Rejected,
    /// Every attempt failed.
    Exhausted,
    /// Every attempt ended the process.
    Crashed,
    /// What its handler returned cannot be committed: it is larger than a commit may be, or the
    /// engine has no room for it, or refuses it.
    Refused,
}

/// What happens to later events of a key whose event became a dead letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDead {
    /// They park behind it, in order, until it is redriven or discarded.
    #[default]
    Park,
    /// They go on without it.
    Skip,
}

/// An event that its group could not handle.
#[derive(Clone, Debug)]
pub struct Death {
    /// The event.
    pub envelope: Envelope,
    /// Where it is.
    pub position: Position,
    /// How many attempts were made.
    pub attempts: u32,
    /// Why.
    pub cause: DeathCause,
    /// The last failure, for people.
    pub reason: String,
    /// What it means to later events of its key.
    pub on_dead: OnDead,
}

/// What follows from the events of a commit.
#[derive(Clone, Debug)]
pub enum Effect {
    /// An event is appended, now or later.
    Append(Append),
    /// What is scheduled under this name is cancelled, if anything is: see [`Scheduled::name`].
    Cancel(EventId),
}

impl Effect {
    /// The event to append, if it is one.
    pub fn append(&self) -> Option<&Append> {
        match self {
            Self::Append(append) => Some(append),
            Self::Cancel(_) => None,
        }
    }
}

impl From<Append> for Effect {
    fn from(append: Append) -> Self {
        Self::Append(append)
    }
}

impl From<Envelope> for Effect {
    fn from(envelope: Envelope) -> Self {
        Self::Append(envelope.into())
    }
}

/// A cell of state: the group's, for one topic and key.
#[derive(Clone)]
pub struct StateWrite {
    /// The topic of the event at hand.
    pub topic: String,
    /// The key of the event at hand.
    pub key: String,
    /// The cell's name.
    pub name: String,
    /// Its new value; `None` removes it.
    pub value: Option<Bytes>,
}

impl fmt::Debug for StateWrite {
    /// Of the value its size: its content may be personal data, which does not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self
            .value
            .as_ref()
            .map(|value| Redacted::bytes(value.len()));
        f.debug_struct("StateWrite")
            .field("topic", &self.topic)
            .field("key", &self.key)
            .field("name", &self.name)
            .field("value", &value)
            .finish()
    }
}

/// What a member did with the events that it took.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Events that are done.
    pub settled: Vec<Position>,
    /// Events to be tried again; each blocks its key.
    pub retries: Vec<Retry>,
    /// Events that were taken before their key was blocked, in order: they wait behind it.
    pub parked: Vec<Delivery>,
    /// Events that could not be handled.
    pub dead: Vec<Death>,
    /// What follows, in the order in which the handlers said it: it applies in that order.
    pub effects: Vec<Effect>,
    /// State, in order: the last write of a cell counts.
    pub state: Vec<StateWrite>,
}

impl Commit {
    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.settled.is_empty()
            && self.retries.is_empty()
            && self.parked.is_empty()
            && self.dead.is_empty()
            && self.effects.is_empty()
            && self.state.is_empty()
    }
}

/// A commit that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// See [`Delivery::generation`].
    pub generation: u64,
    /// How many of the effects were not appended because another event, of another cause, has their
    /// id. At least: few of a commit are looked at.
    pub dropped: usize,
}

/// What an engine is written as: append, join, read, and what operators need.
///
/// A driver, as those of databases are: programs hold an engine (`ensue::Engine`) and do not see which
/// driver keeps the contract behind it.
///
/// Object-safe and shared as `Arc<dyn Driver>`; dropping a future of it may or may not have had its
/// effect, and repeating an append with the same ids is always safe within the dedup window.
pub trait Driver: fmt::Debug + Send + Sync + 'static {
    /// The engine's URL, without secrets.
    fn url(&self) -> &str;

    /// Ends like a killed process: no member leaves, nothing more is written. For tests.
    #[doc(hidden)]
    fn abandon(&self) {}

    /// What the engine promises.
    fn guarantees(&self) -> &Guarantees;

    /// The clock that schedules and retries go by.
    fn clock(&self) -> &Clock;

    /// What seals and opens what is personal in events, if there is something.
    fn vault(&self) -> Option<&dyn Vault> {
        None
    }

    /// Appends `batch`: durable and atomic when it returns, one result per event, in order.
    ///
    /// Waits while the engine's queue is full.
    ///
    /// # Errors
    /// [`AppendError::Conflict`](crate::error::AppendError::Conflict) when an expectation does not
    /// hold, [`AppendError::VersionRemoved`](crate::error::AppendError::VersionRemoved) when that
    /// is not known any more, [`LimitError`](crate::error::LimitError) when the batch is larger
    /// than [`APPEND_EVENTS_MAX`] events or the engine's bytes; nothing was appended then. Any
    /// other error may leave the batch in doubt: append it again.
    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<Appended>>>;

    /// Joins a group, which is created at its start if it is new.
    ///
    /// # Errors
    /// [`LimitError`](crate::error::LimitError) and what the backend reports. For a new group
    /// [`ReadError::BeyondEnd`](crate::error::ReadError::BeyondEnd),
    /// [`ReadError::InTheFuture`](crate::error::ReadError::InTheFuture) and
    /// [`ReadError::Trimmed`](crate::error::ReadError::Trimmed), when there is no such start;
    /// [`GroupError::BeyondEnd`](crate::error::GroupError::BeyondEnd) when the log has lost what
    /// the group has handled.
    fn join(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Member>>>;

    /// Reads durable events, without a group.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`](crate::error::EngineError::Corrupt) instead of anything that is not
    /// what was written, [`ReadError::BeyondEnd`](crate::error::ReadError::BeyondEnd) and
    /// [`ReadError::Trimmed`](crate::error::ReadError::Trimmed) when it would begin where the log
    /// has nothing yet or nothing any more.
    fn read(&self, query: Query) -> BoxFuture<'_, Result<Page>>;

    /// The last event of a key in a topic, unless retention has removed it: the one whose position
    /// [`Expect::At`] compares. Over `ensue://` all events of the key are read for it.
    ///
    /// # Errors
    /// As for [`Driver::read`].
    fn last<'a>(&'a self, topic: &'a str, key: &'a str) -> BoxFuture<'a, Result<Option<Recorded>>> {
        Box::pin(async move {
            let mut query = Query {
                topics: Some(topic.parse()?),
                key: Some(key.to_owned()),
                ..Query::default()
            };
            let mut last = None;
            loop {
                let mut page = self.read(query.clone()).await?;
                last = page.events.pop().or(last);
                if page.is_end {
                    return Ok(last);
                }
                query.from = page.next;
            }
        })
    }

    /// How far a group is with the event at `position`. Over `ensue://` an event that was put aside
    /// counts as handled once the group's position is behind it.
    ///
    /// # Errors
    /// [`GroupError::Unknown`](crate::error::GroupError::Unknown) and what the backend reports.
    fn progress<'a>(
        &'a self,
        group: &'a str,
        position: Position,
    ) -> BoxFuture<'a, Result<EventProgress>> {
        Box::pin(async move {
            // The end first: what the group does meanwhile is after it.
            let end = self.health().await?.end;
            Ok(EventProgress::by_group(
                &self.group(group).await?,
                position,
                end,
            ))
        })
    }

    /// Completes when there may be something at or after `cursor`.
    ///
    /// # Errors
    /// [`EngineError::Closed`](crate::error::EngineError::Closed) and
    /// [`EngineError::Stopped`](crate::error::EngineError::Stopped): there will not be.
    fn wait(&self, cursor: Cursor) -> BoxFuture<'_, Result<()>>;

    /// Cancels what is scheduled under these names ([`Scheduled::name`]); returns how many were still
    /// pending.
    ///
    /// # Errors
    /// What the backend reports.
    fn cancel(&self, names: Vec<EventId>) -> BoxFuture<'_, Result<usize>>;

    /// Up to `limit` scheduled events, the next due first.
    ///
    /// # Errors
    /// What the backend reports.
    fn scheduled(&self, limit: usize) -> BoxFuture<'_, Result<Vec<Scheduled>>>;

    /// A cell of a group's state, as of its last commit.
    ///
    /// # Errors
    /// [`GroupError::Unknown`](crate::error::GroupError::Unknown) and what the backend reports.
    fn state<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
        key: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Bytes>>>;

    /// The cells called `name` of a group's state in a topic, as of its last commit: those of up to
    /// `limit` keys, by key, of the keys behind `after`. 0 means [`READ_EVENTS_MAX`], which is also the
    /// most.
    ///
    /// # Errors
    /// [`GroupError::Unknown`](crate::error::GroupError::Unknown) and what the backend reports.
    fn states<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
        name: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Bytes)>>>;

    /// The dead letters of a group, or of all groups: those that died first come first.
    ///
    /// # Errors
    /// [`GroupError::Unknown`](crate::error::GroupError::Unknown) and what the backend reports.
    fn dead_letters<'a>(
        &'a self,
        group: Option<&'a str>,
        filter: DeadLetterFilter,
    ) -> BoxFuture<'a, Result<Vec<DeadLetter>>>;

    /// Hands dead letters back to their group, followed by what is parked behind them; their
    /// attempts are counted from one again. Returns how many.
    ///
    /// # Errors
    /// [`GroupError::Unknown`](crate::error::GroupError::Unknown) and what the backend reports.
    fn redrive<'a>(
        &'a self,
        group: &'a str,
        filter: DeadLetterFilter,
    ) -> BoxFuture<'a, Result<usize>>;

    /// Gives dead letters up for good; what is parked behind them goes on. Returns how many.
    ///
    /// # Errors
    /// [`GroupError::Unknown`](crate::error::GroupError::Unknown) and what the backend reports.
    fn discard<'a>(
        &'a self,
        group: &'a str,
        filter: DeadLetterFilter,
    ) -> BoxFuture<'a, Result<usize>>;

    /// Moves a group, which begins another [`Run`] with that; tells what that meant. What its
    /// members hold is fenced. Everything that it put aside at or after the new position is read
    /// again with the rest, dead letters included. What it put aside before stays when the group
    /// goes back; when it goes forward, retries and parked events there are given up, and dead
    /// letters stay and block nothing. Schedules stay.
    ///
    /// # Errors
    /// [`GroupError::Unknown`](crate::error::GroupError::Unknown),
    /// [`ReadError::BeyondEnd`](crate::error::ReadError::BeyondEnd),
    /// [`ReadError::InTheFuture`](crate::error::ReadError::InTheFuture) and
    /// [`ReadError::Trimmed`](crate::error::ReadError::Trimmed) when there is no such position,
    /// [`GroupError::StateUndecided`](crate::error::GroupError::StateUndecided) when the fate of
    /// the group's state matters and was not said, and what the backend reports.
    fn reset<'a>(&'a self, group: &'a str, reset: Reset) -> BoxFuture<'a, Result<ResetPlan>>;

    /// What [`Driver::reset`] would do now.
    ///
    /// # Errors
    /// As for [`Driver::reset`], but for a state whose fate was not said.
    fn plan_reset<'a>(&'a self, group: &'a str, reset: Reset) -> BoxFuture<'a, Result<ResetPlan>>;

    /// Forgets a group: its position, its dead letters, its state.
    ///
    /// # Errors
    /// [`GroupError::Unknown`](crate::error::GroupError::Unknown), and
    /// [`GroupError::HasMembers`](crate::error::GroupError::HasMembers) while it has members.
    fn delete_group<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Whether it works, and where its log begins and ends: the same as [`Driver::status`] says. Costs
    /// the same however much is in the log and however many groups there are, so that every reader
    /// that starts at the end and every probe may ask.
    ///
    /// # Errors
    /// What the backend reports.
    fn health(&self) -> BoxFuture<'_, Result<Health>>;

    /// What is going on: topics, groups, members, lag, dead letters, schedules. Counts the lag of every
    /// group; [`Driver::group`] is for one, [`Driver::health`] for where the log ends.
    ///
    /// # Errors
    /// What the backend reports.
    fn status(&self) -> BoxFuture<'_, Result<EngineStatus>>;

    /// One group, as [`Driver::status`] has it; no other's lag is counted.
    ///
    /// # Errors
    /// [`GroupError::Unknown`](crate::error::GroupError::Unknown) and what the backend reports.
    fn group<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<GroupStatus>>;

    /// Completes everything that was begun and lets go of the log. Idempotent.
    ///
    /// # Errors
    /// What the backend reports.
    fn close(&self) -> BoxFuture<'_, Result<()>>;
}

/// One member of a group. Dropping it is leaving without a word: what it holds goes to others.
pub trait Member: fmt::Debug + Send + Sync {
    /// The next events for this member, at least one, at most `events_max`: never an event of a
    /// key of which this or another member holds an earlier one *in the hands of another member*.
    /// Cancel-safe: events that were not returned are not lost. Takes `&self`, as everything here
    /// does, because dispatch commits while it waits for the next events; only one call is under
    /// way at a time.
    ///
    /// # Errors
    /// [`GroupError::Fenced`](crate::error::GroupError::Fenced) after a reset: join again.
    fn next(&self, events_max: usize) -> BoxFuture<'_, Result<Vec<Delivery>>>;

    /// Commits: durable and as atomic as the engine's [`Guarantees`] say, when it returns.
    ///
    /// # Errors
    /// [`GroupError::Fenced`](crate::error::GroupError::Fenced) when an event in it is no longer
    /// this member's. Nothing happened then, nor when something in it is refused, as beyond a
    /// limit.
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed>>;

    /// Leaves the group: what the member holds goes to others at once. Afterwards `next` and
    /// `commit` report [`GroupError::Fenced`](crate::error::GroupError::Fenced). Idempotent.
    ///
    /// # Errors
    /// What the backend reports.
    fn leave(&self) -> BoxFuture<'_, Result<()>>;
}

/// An engine, shared.
pub type SharedEngine = Arc<dyn Driver>;
