//! The log's errors in the words of the engine.

use ensue_log as log;

use crate::engine::Position;
use crate::error::Error;

/// The typed error of what the log reports.
pub(crate) fn of_log(error: log::Error) -> Error {
    match error {
        log::Error::Io {
            action,
            file,
            source,
        } => Error::Io {
            what: format!("could not {action} {file}"),
            source,
        },
        log::Error::Corrupt { .. } | log::Error::Version { .. } => {
            Error::Corrupt(error.to_string())
        }
        log::Error::Trimmed { position, first } => Error::Trimmed {
            position: Position::new(position.get()),
            first: Position::new(first.get()),
        },
        log::Error::OwnershipLost { directory, what } => Error::OwnershipLost { directory, what },
        log::Error::Locked { pid } => Error::Locked {
            directory: String::new(),
            pid: pid.unwrap_or_default(),
        },
        log::Error::Poisoned { reason } | log::Error::Indeterminate { reason } => {
            Error::Stopped(reason)
        }
        log::Error::DiskFull { bytes } => Error::DiskFull(format!("{bytes} bytes are needed")),
        log::Error::Closed => Error::Closed,
        log::Error::TooLarge {
            what,
            bytes,
            bytes_max,
        } => too_large(what, bytes, bytes_max),
        log::Error::Conflict(conflict) => of_conflict(*conflict),
        other => Error::Configuration(other.to_string()),
    }
}

/// The typed error of a batch that the log did not take.
pub(crate) fn of_submit(error: log::SubmitError) -> Error {
    of_log(error.into())
}

fn of_conflict(conflict: log::Conflict) -> Error {
    let position = |at: log::Position| Position::new(at.get());
    let key = String::from_utf8_lossy(&conflict.key).into_owned();
    if let Some(first) = conflict.removed {
        return Error::VersionRemoved {
            topic: conflict.topic,
            key,
            first: position(first),
        };
    }
    Error::Conflict {
        topic: conflict.topic,
        key,
        expected: match conflict.expected {
            log::Expect::Absent => None,
            log::Expect::At(at) => Some(position(at)),
        },
        found: conflict.found.map(position),
    }
}

fn too_large(what: &str, bytes: usize, bytes_max: usize) -> Error {
    let limit = match what {
        "the batch" => "batch_bytes_max",
        "a record" => "record_bytes_max",
        _ => "bytes_max",
    };
    Error::Limit {
        what: format!("the size of {what} in bytes"),
        value: bytes as u64,
        limit,
        max: bytes_max as u64,
        advice: "append less at a time",
    }
}
