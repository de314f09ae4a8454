//! Why a log was not copied to another engine.

/// Why a log was not copied to another engine, or in part only. The log that is copied is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// One side cannot take part in a copy. Nothing was copied.
    #[error("{0}")]
    Unfit(String),
    /// The source is empty.
    #[error("there is nothing in `{url}` to copy; is the URL right?")]
    Nothing {
        /// The source.
        url: String,
    },
    /// A program works on one side. Run the copy again, it goes on where it was.
    #[error("{0}")]
    InUse(String),
    /// A copy was begun and is not complete.
    #[error("{0}")]
    Unfinished(String),
    /// The target holds something else than the source. Nothing of it was changed.
    #[error("{0}")]
    Differs(String),
}
