//! What stops a replay.

use std::io;
use std::path::PathBuf;

/// Why a replay did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The engine or a service.
    #[error(transparent)]
    Engine(#[from] ensue::Error),
    /// The file with the recorded log-ins.
    #[error(
        "cannot read {}: {source}; expected is a file with the lines that sshd writes to syslog, \
         which is read twice", path.display()
    )]
    Recording {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// There is no place for a log that is removed afterwards.
    #[error("no temporary directory for the log: {0}; set TMPDIR, or give --engine")]
    Directory(#[source] io::Error),
}
