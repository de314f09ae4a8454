//! What can go wrong between a program and its engine.

use crate::engine::Position;
use crate::event::{DecodeError, InvalidEvent};
use crate::time::Timestamp;
use crate::topic::InvalidTopic;

/// The result of everything that talks to an engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, what was expected and what to do about it.
///
/// Errors are values to match on; each variant says whether something may have happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine's URL cannot be read. Nothing happened.
    #[error("`{url}` is not an engine URL: {reason}; known are {known}")]
    Url {
        /// The URL, without its password.
        url: String,
        /// What is wrong with it.
        reason: String,
        /// The schemes that are known.
        known: String,
    },
    /// The engine exists but is not compiled in. Nothing happened.
    #[error(
        "the engine `{scheme}` is not in this build; enable the cargo feature `{feature}` of `ensue`"
    )]
    FeatureMissing {
        /// The URL's scheme.
        scheme: &'static str,
        /// The cargo feature to enable.
        feature: &'static str,
    },
    /// Another process owns the directory. Nothing happened.
    #[error(
        "the log in `{directory}` is owned by process {pid}; stop it, or use a command that only reads"
    )]
    Locked {
        /// The directory.
        directory: String,
        /// The owner.
        pid: u32,
    },
    /// The engine was opened for reading only. Nothing happened.
    #[error("the log in `{directory}` was opened for reading only; connect to it to write")]
    ReadOnly {
        /// The directory.
        directory: String,
    },
    /// An event breaks a rule. Nothing was appended.
    #[error(transparent)]
    Invalid(#[from] InvalidEvent),
    /// A topic or a pattern breaks a rule. Nothing happened.
    #[error(transparent)]
    Topic(#[from] InvalidTopic),
    /// A payload is not what its reader expects.
    #[error("the payload is not what its reader expects")]
    Decode(#[from] DecodeError),
    /// A conditional append found another last event. Nothing of the batch was appended.
    #[error(
        "the key `{key}` of topic `{topic}` has changed: expected its last event {}, found {}; \
         read the key again and decide anew",
        describe(*.expected), describe(*.found)
    )]
    Conflict {
        /// The topic.
        topic: String,
        /// The key.
        key: String,
        /// What was expected: `None` is no event.
        expected: Option<Position>,
        /// What is there: `None` is no event.
        found: Option<Position>,
    },
    /// A conditional append cannot be decided: retention has removed what its key may have had.
    /// Nothing of the batch was appended.
    #[error(
        "whether the key `{key}` of topic `{topic}` has the expected version is not known: \
         retention has removed events before position {first}, or had where this log was copied from, \
         and none of the key is left; \
         append without an expectation if that does not matter, and keep conditional topics in a \
         log without retention"
    )]
    VersionRemoved {
        /// The topic.
        topic: String,
        /// The key.
        key: String,
        /// The oldest position that is kept.
        first: Position,
    },
    /// Something is beyond a limit that has a name. Nothing happened.
    #[error("{what} is {value}, the limit `{limit}` is {max}; {advice}")]
    Limit {
        /// What is too much.
        what: String,
        /// How much it is.
        value: u64,
        /// The name of the limit.
        limit: &'static str,
        /// How much it may be.
        max: u64,
        /// What to do about it.
        advice: &'static str,
    },
    /// The disk is full. Nothing was appended and nothing lost; appends resume when there is space.
    #[error("the disk is full: {0}; free some space, appends resume by themselves")]
    DiskFull(String),
    /// What was stored is not what was written. Nothing corrupt was delivered.
    #[error("{0}")]
    Corrupt(String),
    /// What was asked for was removed by retention. Nothing happened.
    #[error(
        "position {position} was removed by retention; the oldest kept is {first}: use that, or \
         `earliest`"
    )]
    Trimmed {
        /// The position that was asked for.
        position: Position,
        /// The oldest one that is kept.
        first: Position,
    },
    /// The directory was removed, renamed or replaced while the engine was open, or its lock file
    /// was. Nothing was acknowledged since that was noticed.
    #[error(
        "`{directory}` no longer belongs to this engine: {what}; nothing more is acknowledged; \
         find out what removed or replaced it, then restart"
    )]
    OwnershipLost {
        /// The directory.
        directory: String,
        /// What happened to it.
        what: String,
    },
    /// The engine stopped after an error that leaves the last appends in doubt: they may or may
    /// not be there after a restart.
    #[error("the engine has stopped: {0}; restart to recover, the last appends are in doubt")]
    Stopped(String),
    /// The engine was closed. Nothing happened.
    #[error("the engine is closed")]
    Closed,
    /// The member no longer owns what it wanted to commit: it left, or was replaced. Nothing of
    /// the commit happened.
    #[error("this member of group `{group}` was replaced or has left; its events went to another")]
    Fenced {
        /// The group.
        group: String,
    },
    /// The group does not exist.
    #[error("there is no group `{0}`; `ensue groups` lists those there are")]
    UnknownGroup(String),
    /// The log has no such position yet. Nothing happened.
    #[error(
        "position {position} is beyond the end of the log, which is {end}; use `latest` to start \
         with what comes next"
    )]
    BeyondEnd {
        /// The position.
        position: Position,
        /// The position of the next event.
        end: Position,
    },
    /// A time that has not come cannot be found in the log. Nothing happened.
    #[error(
        "{at} is in the future, the clock shows {now}; use `latest` to start with what comes next"
    )]
    InTheFuture {
        /// The time.
        at: Timestamp,
        /// What the engine's clock showed.
        now: Timestamp,
    },
    /// A group has handled what the log does not hold: the log was cut, or is an older copy.
    #[error(
        "group `{group}` is at position {position}, beyond the end of the log, which is {end}: the \
         log was cut or restored from an older backup; reset the group to `latest`, or to where it \
         is to go on"
    )]
    GroupBeyondEnd {
        /// The group.
        group: String,
        /// Its position.
        position: Position,
        /// The position of the next event.
        end: Position,
    },
    /// The engine lacks what was asked for.
    #[error("the engine `{engine}` does not offer {what}{}", needed_by(.handler))]
    Unsupported {
        /// The engine.
        engine: String,
        /// What it lacks.
        what: String,
        /// The handler that needs it, if it was a handler.
        handler: Option<String>,
    },
    /// The server is away or does not answer. What was under way may or may not have happened.
    /// Whoever tries again says so.
    #[error("the server at `{server}` is not available: {reason}")]
    Unavailable {
        /// The server's URL, without secrets.
        server: String,
        /// What happened.
        reason: String,
    },
    /// The server cannot be used as it is. Nothing happened.
    #[error("the server at `{server}` cannot be used: {reason}; {advice}")]
    Unfit {
        /// The server's URL, without secrets.
        server: String,
        /// Why.
        reason: String,
        /// What to do about it.
        advice: String,
    },
    /// Another process changed the same thing at the same time. Nothing happened.
    #[error("another process was faster: {what}; look again, and try again")]
    Overtaken {
        /// What it changed.
        what: &'static str,
    },
    /// A log cannot be copied to another engine, or has been in part only. The log that is copied
    /// is as it was.
    #[error("{0}")]
    Migration(String),
    /// A service, a handler or a setting contradicts itself. Nothing was started.
    #[error("{0}")]
    Configuration(String),
    /// A request that nobody answered in time. It may still be handled.
    #[error("no reply to `{kind}` within {waited_ms} ms")]
    Deadline {
        /// The request's type.
        kind: String,
        /// How long the requester waited, in milliseconds.
        waited_ms: u64,
    },
    /// A request whose handler gave up on it.
    #[error("the request failed: {0}")]
    RequestFailed(String),
    /// A service ended by itself. What it had not committed is delivered again.
    #[error(
        "the service `{group}` stopped: {reason}; what it had not committed is delivered again"
    )]
    ServiceStopped {
        /// The service.
        group: String,
        /// Why.
        reason: String,
    },
    /// The operating system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted, and on which file.
        what: String,
        /// What the system answered.
        source: std::io::Error,
    },
}

/// What becomes of something that was refused when it is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum Outlook {
    /// It may succeed later, as it is: there is no room, or nobody answers.
    Passes,
    /// It will not: what was asked breaks a rule or a limit. Something else may succeed.
    Content,
    /// It will not for this member, which has to join again.
    Member,
    /// Nothing will, for this engine.
    Engine,
}

impl Error {
    /// Whether, and for whom, this is final.
    #[doc(hidden)]
    pub fn outlook(&self) -> Outlook {
        match self {
            Self::DiskFull(_)
            | Self::Unavailable { .. }
            | Self::Overtaken { .. }
            | Self::Deadline { .. }
            | Self::Io { .. } => Outlook::Passes,
            Self::Invalid(_)
            | Self::Topic(_)
            | Self::Decode(_)
            | Self::Conflict { .. }
            | Self::VersionRemoved { .. }
            | Self::BeyondEnd { .. }
            | Self::InTheFuture { .. }
            | Self::Limit { .. }
            | Self::Unsupported { .. }
            | Self::Configuration(_)
            | Self::UnknownGroup(_)
            | Self::RequestFailed(_) => Outlook::Content,
            Self::Fenced { .. } => Outlook::Member,
            Self::Url { .. }
            | Self::FeatureMissing { .. }
            | Self::Locked { .. }
            | Self::ReadOnly { .. }
            | Self::Corrupt(_)
            | Self::Trimmed { .. }
            | Self::OwnershipLost { .. }
            | Self::Stopped(_)
            | Self::Closed
            | Self::Unfit { .. }
            | Self::Migration(_)
            | Self::GroupBeyondEnd { .. }
            | Self::ServiceStopped { .. } => Outlook::Engine,
        }
    }
}

fn describe(position: Option<Position>) -> String {
    position.map_or_else(
        || "absent".to_owned(),
        |position| format!("at position {position}"),
    )
}

fn needed_by(handler: &Option<String>) -> String {
    handler
        .as_ref()
        .map_or_else(String::new, |handler| format!(", which `{handler}` needs"))
}
