//! How a command fails: what is said on stderr, and the exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;

use ensue::Error;
use ensue::error::{
    AppError, AppendError, EngineError, GroupError, OpenError, ReadError, RequestError, with_causes,
};
use serde_json::{Map, Value, json};

use crate::human;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The reader of our output has gone: nothing is wrong and nothing is left to say.
    PipeClosed,
    /// The command ran and its result says what is wrong: exit code 1, no further words.
    Reported,
    /// The command line asks for something that cannot be meant: exit code 2.
    Usage(String),
    /// It went wrong: exit code 1.
    Failed(Problem),
}

/// What went wrong, for people and for programs.
#[derive(Debug)]
pub(crate) struct Problem {
    /// A stable name.
    pub(crate) kind: &'static str,
    /// What happened and why.
    pub(crate) message: String,
    /// What to do about it, where the message does not say so itself.
    pub(crate) advice: Option<String>,
    /// The process in the way, if there is one.
    pub(crate) pid: Option<u32>,
}

impl Failure {
    /// A failure with advice.
    pub(crate) fn new(
        kind: &'static str,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::Failed(Problem {
            kind,
            message: message.into(),
            advice: Some(advice.into()),
            pid: None,
        })
    }

    /// A failure whose message says what to do.
    pub(crate) fn without_advice(kind: &'static str, message: impl Into<String>) -> Self {
        Self::Failed(Problem {
            kind,
            message: message.into(),
            advice: None,
            pid: None,
        })
    }

    /// The same, which is why something else could not be done.
    pub(crate) fn within(mut self, what: &str) -> Self {
        if let Self::Failed(problem) = &mut self {
            problem.message = format!("{what}: {}", problem.message);
        }
        self
    }

    /// A failure that the operating system caused.
    pub(crate) fn io(what: &str, error: &io::Error) -> Self {
        Self::Failed(Problem {
            kind: "io",
            message: format!("{what}: {error}"),
            advice: None,
            pid: None,
        })
    }

    /// Says it on stderr, as JSON if asked to; returns the exit code.
    pub(crate) fn report(self, as_json: bool) -> ExitCode {
        let (code, problem) = match self {
            Self::PipeClosed => return ExitCode::SUCCESS,
            Self::Reported => return ExitCode::FAILURE,
            Self::Usage(message) => (ExitCode::from(2), usage(message)),
            Self::Failed(problem) => (ExitCode::FAILURE, problem),
        };
        let text = if as_json {
            problem.to_json().to_string()
        } else {
            problem.to_text()
        };
        // With stderr gone there is no way left to tell.
        let _ = writeln!(io::stderr().lock(), "{text}");
        code
    }
}

fn usage(message: String) -> Problem {
    Problem {
        kind: "usage",
        message,
        advice: None,
        pid: None,
    }
}

impl Problem {
    fn to_text(&self) -> String {
        // An error may quote what another program wrote; its line breaks are ours.
        let message = human::printable_lines(&self.message);
        match &self.advice {
            None => format!("error: {message}"),
            Some(advice) => format!("error: {message}\n  help: {advice}"),
        }
    }

    fn to_json(&self) -> Value {
        let mut error = Map::new();
        error.insert("kind".into(), json!(self.kind));
        error.insert("message".into(), json!(self.message));
        error.insert("advice".into(), json!(self.advice));
        if let Some(pid) = self.pid {
            error.insert("pid".into(), json!(pid));
        }
        json!({ "error": error })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(Problem {
            kind: kind(&error),
            pid: match &error {
                Error::Open(OpenError::Locked { pid, .. }) => *pid,
                _ => None,
            },
            message: with_causes(&error),
            // The framework's errors carry their advice in their text.
            advice: None,
        })
    }
}

/// The stable name of an error.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::Open(error) => kind_of_open(error),
        Error::Append(AppendError::Invalid(_)) => "invalid_event",
        Error::Append(AppendError::Conflict { .. }) => "conflict",
        Error::Append(AppendError::VersionRemoved { .. }) => "version_removed",
        Error::Read(ReadError::Topic(_)) => "invalid_topic",
        Error::Read(ReadError::Decode(_)) => "decode",
        Error::Read(ReadError::Trimmed { .. }) => "trimmed",
        Error::Read(ReadError::BeyondEnd { .. }) => "beyond_end",
        Error::Read(ReadError::InTheFuture { .. }) => "in_the_future",
        Error::Group(error) => kind_of_group(error),
        Error::Request(RequestError::Deadline { .. }) => "deadline",
        Error::Request(RequestError::Failed(_)) => "request_failed",
        Error::App(AppError::Unsupported { .. }) => "unsupported",
        Error::App(_) => "app",
        Error::Migrate(_) => "migration",
        Error::Limit(_) => "limit",
        Error::Engine(error) => kind_of_engine(error),
        _ => "other",
    }
}

fn kind_of_open(error: &OpenError) -> &'static str {
    match error {
        OpenError::Url { .. } => "url",
        OpenError::Option { .. } => "option",
        OpenError::FeatureMissing { .. } => "feature_missing",
        OpenError::Locked { .. } => "locked",
        OpenError::NotACopy { .. } => "not_a_copy",
        OpenError::InsideSource { .. } => "inside_source",
        OpenError::Tls { .. } => "tls",
        OpenError::Unfit { .. } => "unfit",
        OpenError::NoServer { .. } => "no_server",
        _ => "other",
    }
}

fn kind_of_group(error: &GroupError) -> &'static str {
    match error {
        GroupError::Fenced { .. } => "fenced",
        GroupError::Unknown { .. } => "unknown_group",
        GroupError::Deleted(_) => "deleted_group",
        GroupError::Subscription { .. } => "subscription",
        GroupError::BeyondEnd { .. } => "group_beyond_end",
        GroupError::HasMembers { .. } => "has_members",
        GroupError::StateUndecided { .. } => "undecided_state",
        _ => "other",
    }
}

fn kind_of_engine(error: &EngineError) -> &'static str {
    match error {
        EngineError::Closed => "closed",
        EngineError::Stopped(_) => "stopped",
        EngineError::Unavailable { .. } => "unavailable",
        EngineError::Corrupt(_) => "corrupt",
        EngineError::OwnershipLost { .. } => "ownership_lost",
        EngineError::ReadOnly { .. } => "read_only",
        EngineError::DiskFull(_) => "disk_full",
        EngineError::Overtaken { .. } => "overtaken",
        EngineError::Encode { .. } => "encode",
        EngineError::Threads { .. } => "threads",
        EngineError::Io { .. } => "io",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_people_read_the_same_failure() {
        let Failure::Failed(problem) = Failure::new("locked", "no", "stop it") else {
            panic!("a failure with advice is a problem");
        };
        assert_eq!(problem.to_text(), "error: no\n  help: stop it");
        assert_eq!(
            problem.to_json(),
            json!({"error": {"kind": "locked", "message": "no", "advice": "stop it"}})
        );
    }
}
