//! An error as it arrives.

use std::io;

use ensue_core::error::{AppendError, EngineError, GroupError, LimitError, ReadError};
use ensue_core::{Error, InvalidEvent, Position, Timestamp};

use crate::texts::kept;
use crate::v1::ErrorDetail;

/// The error that a detail tells of; `None` when it is of a kind that is not known here, or lacks what
/// its kind is made of.
pub(super) fn error(detail: &ErrorDetail) -> Option<Error> {
    let facts = Facts(detail);
    let read = match detail.code.as_str() {
        "invalid_event" => event(&facts)?.into(),
        "conflict" => AppendError::Conflict {
            topic: facts.text("topic")?,
            key: facts.text("key")?,
            expected: facts.position("expected"),
            found: facts.position("found"),
        }
        .into(),
        "version_removed" => AppendError::VersionRemoved {
            topic: facts.text("topic")?,
            key: facts.text("key")?,
            first: facts.position("first")?,
        }
        .into(),
        "trimmed" => ReadError::Trimmed {
            position: facts.position("position")?,
            first: facts.position("first")?,
        }
        .into(),
        "beyond_end" => ReadError::BeyondEnd {
            position: facts.position("position")?,
            end: facts.position("end")?,
        }
        .into(),
        "in_the_future" => ReadError::InTheFuture {
            at: facts.time("at_us")?,
            now: facts.time("now_us")?,
        }
        .into(),
        "limit" => LimitError {
            what: facts.text("what")?,
            value: facts.number("value")?,
            limit: facts.kept("limit")?,
            max: facts.number("max")?,
            advice: facts.kept("advice")?,
        }
        .into(),
        _ => return group(&facts).or_else(|| engine(&facts)),
    };
    Some(read)
}

fn event(facts: &Facts<'_>) -> Option<InvalidEvent> {
    let text = |name| facts.text(name);
    if let Some(topic) = text("reserved_topic") {
        return Some(InvalidEvent::ReservedTopic(topic));
    }
    if let Some(name) = facts.kept("missing") {
        return Some(InvalidEvent::Missing(name));
    }
    if let Some(name) = text("extension") {
        return Some(InvalidEvent::ExtensionName(name));
    }
    if let Some(name) = text("extension_is_attribute") {
        return Some(InvalidEvent::ExtensionIsAttribute(name));
    }
    if let Some(name) = text("attribute") {
        let problem = text("problem")?;
        return Some(InvalidEvent::Attribute { name, problem });
    }
    Some(InvalidEvent::TooLarge {
        what: facts.kept("what")?,
        bytes: facts.number("bytes")?,
        bytes_max: facts.number("bytes_max")?,
        advice: facts.kept("advice")?,
    })
}

fn group(facts: &Facts<'_>) -> Option<Error> {
    let group = facts.text("group")?;
    let error = match facts.code() {
        "fenced" => GroupError::Fenced { group },
        "unknown_group" => GroupError::Unknown {
            group,
            known: facts.text("known")?.lines().map(str::to_owned).collect(),
        },
        "group_deleted" => GroupError::Deleted(group),
        "invalid_subscription" => GroupError::Subscription { group },
        "group_beyond_end" => GroupError::BeyondEnd {
            group,
            position: facts.position("position")?,
            end: facts.position("end")?,
        },
        "attempt_number" => GroupError::AttemptNumber {
            group,
            position: facts.position("position")?,
            number: facts.number("number")?,
        },
        "has_members" => GroupError::HasMembers { group },
        "undecided_state" => GroupError::StateUndecided {
            group,
            cells: facts.number("cells")?,
            again: facts.number("again")?,
            to: facts.position("to")?,
        },
        _ => return None,
    };
    Some(error.into())
}

fn engine(facts: &Facts<'_>) -> Option<Error> {
    let reason = || facts.text("reason").map(io::Error::other);
    let error = match facts.code() {
        "closed" => EngineError::Closed,
        "stopped" => EngineError::Stopped(facts.text("why")?),
        "unavailable" => EngineError::Unavailable {
            server: facts.text("server")?,
            reason: facts.text("reason")?,
        },
        "corrupt" => EngineError::Corrupt(facts.text("what")?),
        "ownership_lost" => EngineError::OwnershipLost {
            directory: facts.text("directory")?,
            what: facts.text("what")?,
        },
        "read_only" => EngineError::ReadOnly {
            directory: facts.text("directory")?,
        },
        "disk_full" => EngineError::DiskFull(facts.text("what")?),
        "overtaken" => EngineError::Overtaken {
            what: facts.kept("what")?,
        },
        "encode" => EngineError::Encode {
            record: facts.kept("record")?,
            reason: facts.text("reason")?,
        },
        "overloaded" => EngineError::Threads { reason: reason()? },
        "io" => EngineError::Io {
            what: facts.text("what")?,
            reason: reason()?,
        },
        _ => return None,
    };
    Some(error.into())
}

/// What a detail says.
struct Facts<'a>(&'a ErrorDetail);

impl Facts<'_> {
    fn code(&self) -> &str {
        &self.0.code
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.fields.get(name).map(String::as_str)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn kept(&self, name: &str) -> Option<&'static str> {
        self.get(name).map(kept)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }

    fn position(&self, name: &str) -> Option<Position> {
        self.number(name).map(Position::new)
    }

    fn time(&self, name: &str) -> Option<Timestamp> {
        self.number(name).map(Timestamp::from_micros)
    }
}
