//! Why a log was not copied to another engine.

/// Why a log was not copied to another engine, or in part only. The log that is copied is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// One side cannot take part in a copy. Nothing was copied.
    #[error("`{url}` cannot take part in a copy: {found}; expected is {expected}")]
    Unfit {
        /// The side.
        url: String,
        /// What it is.
        found: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// The source is empty.
    #[error("there is nothing in `{url}` to copy; is the URL right?")]
    Nothing {
        /// The source.
        url: String,
    },
    /// A program works on one side.
    #[error(
        "other processes work on `{url}`: {found}; stop the programs that use it and run the \
         migration again, it goes on where it was"
    )]
    InUse {
        /// The side.
        url: String,
        /// Who works there, or what they did.
        found: String,
    },
    /// A log holds a part of another one: copying it was interrupted.
    #[error(
        "{} holds a part of `{from}`: run `ensue migrate` with the same URLs again, it goes on where \
         it was",
        shown(url.as_deref())
    )]
    Unfinished {
        /// The log that holds it, where that is known.
        url: Option<String>,
        /// The log that was being copied.
        from: String,
    },
    /// Not everything is there after all was copied.
    #[error(
        "after everything was copied `{url}` has {found}; expected was {expected}; run the migration \
         again"
    )]
    Incomplete {
        /// The target.
        url: String,
        /// What there should be.
        expected: String,
        /// What there is.
        found: String,
    },
    /// The target holds something else than the source. Nothing of it was changed.
    #[error("`{url}` holds something else: {found}; expected was {expected}; name an empty target")]
    Differs {
        /// The target.
        url: String,
        /// What could be gone on with.
        expected: &'static str,
        /// What there is.
        found: String,
    },
    /// The copy was completed before, and since then one side has changed. Nothing was copied.
    #[error(
        "the migration to `{url}` was completed before, and one of both sides has gone on since: there \
         is nothing left to copy"
    )]
    Completed {
        /// The target.
        url: String,
    },
}

/// A log, by its URL if that is known.
fn shown(url: Option<&str>) -> String {
    url.map_or_else(|| "the log".to_owned(), |url| format!("`{url}`"))
}
