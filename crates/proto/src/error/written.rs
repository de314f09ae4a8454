//! An error as it is sent.

use std::collections::HashMap;

use ensue_core::error::{AppendError, EngineError, GroupError, LimitError, ReadError, with_causes};
use ensue_core::{Error, InvalidEvent, Position, Timestamp};
use tonic::Code;

use crate::v1::ErrorDetail;

/// How many of the groups that exist an error names, and how long they may be together.
const KNOWN_BYTES_MAX: usize = 1_024;

/// An error as it is sent.
pub(super) struct Written {
    pub(super) code: Code,
    pub(super) detail: ErrorDetail,
}

/// What is said of an error besides its text.
struct Facts {
    name: &'static str,
    code: Code,
    in_doubt: bool,
    fields: HashMap<String, String>,
}

impl Facts {
    fn new(name: &'static str, code: Code) -> Self {
        Self {
            name,
            code,
            in_doubt: false,
            fields: HashMap::new(),
        }
    }

    fn doubtful(mut self) -> Self {
        self.in_doubt = true;
        self
    }

    fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.fields.insert(name.to_owned(), value.to_string());
        self
    }

    fn maybe(self, name: &str, value: Option<Position>) -> Self {
        match value {
            Some(position) => self.with(name, position),
            None => self,
        }
    }

    fn time(self, name: &str, time: Timestamp) -> Self {
        self.with(name, time.as_micros())
    }
}

impl Written {
    pub(super) fn of(error: &Error) -> Self {
        let facts = match error {
            Error::Append(error) => of_append(error),
            Error::Read(error) => of_read(error),
            Error::Group(error) => of_group(error),
            Error::Limit(error) => of_limit(error),
            Error::Engine(error) => of_engine(error),
            Error::Request(_) => Facts::new("refused", Code::FailedPrecondition),
            _ => Facts::new("internal", Code::Internal).doubtful(),
        };
        Self {
            code: facts.code,
            detail: ErrorDetail {
                code: facts.name.to_owned(),
                message: with_causes(error),
                in_doubt: facts.in_doubt,
                fields: facts.fields,
            },
        }
    }
}

fn of_append(error: &AppendError) -> Facts {
    match error {
        AppendError::Invalid(error) => of_event(error),
        AppendError::Conflict {
            topic,
            key,
            expected,
            found,
        } => Facts::new("conflict", Code::Aborted)
            .with("topic", topic)
            .with("key", key)
            .maybe("expected", *expected)
            .maybe("found", *found),
        AppendError::VersionRemoved { topic, key, first } => {
            Facts::new("version_removed", Code::FailedPrecondition)
                .with("topic", topic)
                .with("key", key)
                .with("first", first)
        }
        _ => Facts::new("refused", Code::FailedPrecondition),
    }
}

fn of_event(error: &InvalidEvent) -> Facts {
    let facts = Facts::new("invalid_event", Code::InvalidArgument);
    match error {
        InvalidEvent::ReservedTopic(topic) => facts.with("reserved_topic", topic),
        InvalidEvent::Missing(name) => facts.with("missing", name),
        InvalidEvent::Attribute { name, problem } => {
            facts.with("attribute", name).with("problem", problem)
        }
        InvalidEvent::TooLarge {
            what,
            bytes,
            bytes_max,
            advice,
        } => facts
            .with("what", what)
            .with("bytes", bytes)
            .with("bytes_max", bytes_max)
            .with("advice", advice),
        InvalidEvent::ExtensionName(name) => facts.with("extension", name),
        InvalidEvent::ExtensionIsAttribute(name) => facts.with("extension_is_attribute", name),
        _ => facts,
    }
}

fn of_read(error: &ReadError) -> Facts {
    match error {
        ReadError::Topic(_) => Facts::new("invalid_parameter", Code::InvalidArgument),
        ReadError::Trimmed { position, first } => Facts::new("trimmed", Code::OutOfRange)
            .with("position", position)
            .with("first", first),
        ReadError::BeyondEnd { position, end } => Facts::new("beyond_end", Code::OutOfRange)
            .with("position", position)
            .with("end", end),
        ReadError::InTheFuture { at, now } => Facts::new("in_the_future", Code::OutOfRange)
            .time("at_us", *at)
            .time("now_us", *now),
        _ => Facts::new("refused", Code::FailedPrecondition),
    }
}

fn of_group(error: &GroupError) -> Facts {
    let precondition = |name| Facts::new(name, Code::FailedPrecondition);
    match error {
        GroupError::Fenced { group } => precondition("fenced").with("group", group),
        GroupError::Unknown { group, known } => {
            let mut room = KNOWN_BYTES_MAX;
            let named = known.iter().take_while(|name| {
                let fits = name.len() < room;
                room = room.saturating_sub(name.len() + 1);
                fits
            });
            // No group's name has a line break that means anything to people.
            let known = named.map(String::as_str).collect::<Vec<_>>().join("\n");
            Facts::new("unknown_group", Code::NotFound)
                .with("group", group)
                .with("known", known)
        }
        GroupError::Deleted(group) => {
            Facts::new("group_deleted", Code::NotFound).with("group", group)
        }
        GroupError::Subscription { group } => {
            Facts::new("invalid_subscription", Code::InvalidArgument).with("group", group)
        }
        GroupError::BeyondEnd {
            group,
            position,
            end,
        } => precondition("group_beyond_end")
            .with("group", group)
            .with("position", position)
            .with("end", end),
        GroupError::AttemptNumber {
            group,
            position,
            number,
        } => Facts::new("attempt_number", Code::InvalidArgument)
            .with("group", group)
            .with("position", position)
            .with("number", number),
        GroupError::HasMembers { group } => precondition("has_members").with("group", group),
        GroupError::StateUndecided {
            group,
            cells,
            again,
            to,
        } => precondition("undecided_state")
            .with("group", group)
            .with("cells", cells)
            .with("again", again)
            .with("to", to),
        _ => precondition("refused"),
    }
}

fn of_limit(error: &LimitError) -> Facts {
    Facts::new("limit", Code::InvalidArgument)
        .with("what", &error.what)
        .with("value", error.value)
        .with("limit", error.limit)
        .with("max", error.max)
        .with("advice", error.advice)
}

fn of_engine(error: &EngineError) -> Facts {
    match error {
        EngineError::Closed => Facts::new("closed", Code::Unavailable),
        EngineError::Stopped(why) => Facts::new("stopped", Code::Unavailable)
            .doubtful()
            .with("why", why),
        EngineError::Unavailable { server, reason } => Facts::new("unavailable", Code::Unavailable)
            .doubtful()
            .with("server", server)
            .with("reason", reason),
        EngineError::Corrupt(what) => Facts::new("corrupt", Code::DataLoss).with("what", what),
        EngineError::OwnershipLost { directory, what } => {
            Facts::new("ownership_lost", Code::Unavailable)
                .doubtful()
                .with("directory", directory)
                .with("what", what)
        }
        EngineError::ReadOnly { directory } => {
            Facts::new("read_only", Code::PermissionDenied).with("directory", directory)
        }
        EngineError::DiskFull(what) => {
            Facts::new("disk_full", Code::ResourceExhausted).with("what", what)
        }
        EngineError::Overtaken { what } => {
            Facts::new("overtaken", Code::Aborted).with("what", what)
        }
        EngineError::Encode { record, reason } => Facts::new("encode", Code::Internal)
            .with("record", record)
            .with("reason", reason),
        EngineError::Threads { reason } => {
            Facts::new("overloaded", Code::ResourceExhausted).with("reason", reason)
        }
        EngineError::Io { what, reason } => Facts::new("io", Code::Internal)
            .doubtful()
            .with("what", what)
            .with("reason", reason),
        _ => Facts::new("internal", Code::Internal).doubtful(),
    }
}
