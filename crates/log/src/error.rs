use std::io;

use crate::expect::Expect;
use crate::lost::Lost;
use crate::position::Position;

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong, and what the caller may still do.
///
/// Those who use the log say of each what it means to them: a new one is theirs to decide about.
#[derive(Debug, thiserror::Error)]
#[allow(clippy::exhaustive_enums, reason = "see above")]
pub enum Error {
    /// The operating system refused an operation. Reading may go on; for appends see
    /// [`Error::Poisoned`].
    #[error("could not {action} {file}: {reason}")]
    Io {
        /// What was tried, as an imperative: "read", "sync".
        action: &'static str,
        /// The file.
        file: String,
        /// What the operating system said.
        reason: io::Error,
    },
    /// Bytes on disk are not what was written. Nothing of them was served.
    #[error(
        "{file} is damaged at byte {offset}: {what}; restore the file from a backup or a replica, \
         or copy what is readable into a new log with `ensue salvage`"
    )]
    Corrupt {
        /// The file.
        file: String,
        /// The byte where the damage was noticed.
        offset: u64,
        /// What was found and what was expected.
        what: String,
    },
    /// Another process, or another handle of this one, owns the directory.
    #[error(
        "the log is in use by process {}; stop it, or read through a follower",
        pid.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string())
    )]
    Locked {
        /// The owner, when it could be read.
        pid: Option<u32>,
    },
    /// The directory was removed, renamed or replaced while this process owned it, or its lock
    /// file was. Nothing was acknowledged and nothing was written by name since that was noticed.
    /// Reading what was durable still works as far as the files are there.
    #[error(
        "{directory} no longer belongs to this log: {what}; nothing more is acknowledged; find \
         out what removed or replaced it, then open the log again"
    )]
    OwnershipLost {
        /// The directory.
        directory: String,
        /// What happened to it.
        what: String,
    },
    /// The files were written by a version of this crate that this one does not know.
    #[error("{file} has format version {found}, this build reads version {supported}; upgrade it")]
    Version {
        /// The file.
        file: String,
        /// The version it carries.
        found: u32,
        /// The newest version this build reads.
        supported: u32,
    },
    /// An earlier write or sync failed, so that the state of the disk is unknown. Nothing can be
    /// appended until the log is opened again; reading what was durable still works.
    #[error("the log stopped after an I/O failure ({reason}); check the disk, then reopen the log")]
    Poisoned {
        /// The failure.
        reason: String,
    },
    /// The write or sync of this very append failed: it may or may not be on disk. Reopen, then
    /// append again with the same id.
    #[error(
        "the append may or may not be on disk ({reason}); reopen the log and append again with \
         the same id"
    )]
    Indeterminate {
        /// The failure.
        reason: String,
    },
    /// There is no room for a new segment. Nothing was written, nothing was lost; appends work
    /// again as soon as there is room.
    #[error(
        "the disk is full: the next file of the log needs {bytes} bytes; free space and append again"
    )]
    DiskFull {
        /// How many bytes the log needs to go on: a whole file, however small what was to be appended.
        bytes: u64,
    },
    /// The log was closed.
    #[error("the log is closed; open it again")]
    Closed,
    /// Something is larger than its limit.
    #[error("{what} has {bytes} bytes, the limit is {bytes_max}; split it or raise the limit")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The records asked for were removed by retention.
    #[error("position {position} was trimmed; the oldest kept is {first}; read from there")]
    Trimmed {
        /// What was asked for.
        position: Position,
        /// The oldest position kept.
        first: Position,
    },
    /// A batch's [`Expect`] did not hold; nothing was appended.
    #[error(transparent)]
    Conflict(#[from] Box<Conflict>),
    /// A setting is out of its range.
    #[error("option {name} is {value}; it must be between {min} and {max}")]
    Option {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
}

impl Error {
    pub(crate) fn io(
        action: &'static str,
        file: impl Into<String>,
    ) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |reason: io::Error| match reason.get_ref().and_then(|it| it.downcast_ref::<Lost>()) {
            Some(lost) => lost.clone().into(),
            None => Self::Io {
                action,
                file,
                reason,
            },
        }
    }

    pub(crate) fn corrupt(file: impl Into<String>, offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt {
            file: file.into(),
            offset,
            what: what.into(),
        }
    }
}

impl From<Lost> for Error {
    fn from(Lost { directory, what }: Lost) -> Self {
        Self::OwnershipLost { directory, what }
    }
}

/// An [`Expect`] that did not hold.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the key's last record in topic {topic:?} was expected {}, it is {}; read it again and decide again",
    match expected { Expect::Absent => "to be absent".to_owned(), Expect::At(at) => format!("at {at}") },
    match (found, removed) {
        (Some(at), _) => format!("at {at}"),
        (None, Some(first)) => format!("not known: what was before {first} is gone"),
        (None, None) => "absent".to_owned(),
    }
)]
pub struct Conflict {
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: Vec<u8>,
    /// What the batch expected.
    pub expected: Expect,
    /// Where the key's last record is.
    pub found: Option<Position>,
    /// The oldest position that is kept, if none of the key's records is and there may have been
    /// one before: then it is unknown whether the expectation holds.
    pub removed: Option<Position>,
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_the_system_answered_is_said_once_and_can_be_asked_for() {
        let error = Error::io("open", "`x`")(io::ErrorKind::NotFound.into());
        assert_eq!(error.to_string(), "could not open `x`: entity not found");
        assert!(error.source().is_none());
        let Error::Io { reason, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(reason.kind(), io::ErrorKind::NotFound);
    }
}
