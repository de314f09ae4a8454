//! The log's errors in the words of the engine.

use ensue_log as log;

use crate::error::{AppendError, EngineError, Error, LimitError, OpenError, ReadError};
use crate::log_position::from_log;

/// The typed error of what the log reports.
pub(crate) fn of_log(error: log::Error) -> Error {
    match error {
        log::Error::Io {
            action,
            file,
            reason,
        } => Error::Engine(EngineError::Io {
            what: format!("could not {action} {file}"),
            reason,
        }),
        log::Error::Corrupt { .. } | log::Error::Version { .. } => {
            Error::Engine(EngineError::Corrupt(error.to_string()))
        }
        log::Error::Trimmed { position, first } => Error::Read(ReadError::Trimmed {
            position: from_log(position),
            first: from_log(first),
        }),
        log::Error::OwnershipLost { directory, what } => {
            Error::Engine(EngineError::OwnershipLost { directory, what })
        }
        log::Error::Locked { pid } => Error::Open(OpenError::Locked {
            directory: String::new(),
            pid,
        }),
        log::Error::Poisoned { reason } | log::Error::Indeterminate { reason } => {
            Error::Engine(EngineError::Stopped(reason))
        }
        log::Error::DiskFull { bytes } => Error::Engine(EngineError::DiskFull(format!(
            "the next file of the log needs {bytes} bytes"
        ))),
        log::Error::Closed => Error::Engine(EngineError::Closed),
        log::Error::TooLarge {
            what,
            bytes,
            bytes_max,
        } => too_large(what, bytes, bytes_max),
        log::Error::Conflict(conflict) => of_conflict(*conflict),
        log::Error::Option {
            name,
            value,
            min,
            max,
        } => Error::Open(OpenError::Option {
            name,
            value,
            min,
            max,
        }),
    }
}

/// The typed error of a batch that the log did not take.
pub(crate) fn of_submit(error: log::SubmitError) -> Error {
    of_log(error.into())
}

fn of_conflict(conflict: log::Conflict) -> Error {
    let key = String::from_utf8_lossy(&conflict.key).into_owned();
    if let Some(first) = conflict.removed {
        return Error::Append(AppendError::VersionRemoved {
            topic: conflict.topic,
            key,
            first: from_log(first),
        });
    }
    Error::Append(AppendError::Conflict {
        topic: conflict.topic,
        key,
        expected: match conflict.expected {
            log::Expect::Absent => None,
            log::Expect::At(at) => Some(from_log(at)),
        },
        found: conflict.found.map(from_log),
    })
}

fn too_large(what: &str, bytes: usize, bytes_max: usize) -> Error {
    let limit = match what {
        "the batch" => "batch_bytes_max",
        "a record" => "record_bytes_max",
        _ => "bytes_max",
    };
    Error::Limit(LimitError {
        what: format!("the size of {what} in bytes"),
        value: bytes as u64,
        limit,
        max: bytes_max as u64,
        advice: "append less at a time",
    })
}
