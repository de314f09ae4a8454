use std::io;

/// The directory that was locked is no longer the caller's: see [`Storage::confirm`](crate::Storage::confirm).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{directory}: {what}")]
pub struct Lost {
    /// The directory.
    pub directory: String,
    /// What happened to it.
    pub what: String,
}

impl From<Lost> for io::Error {
    fn from(lost: Lost) -> Self {
        Self::other(lost)
    }
}
