//! What can go wrong between a program, its database and its engine.

/// The result of everything that talks to a database.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, what was expected and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database refused a statement, or cannot be reached. A transaction that was under way had no
    /// effect, unless it was lost while it committed: whoever asks again finds out.
    #[error("the database did not do what it was asked to: {0}")]
    Database(#[from] sqlx::Error),
    /// The engine refused, or cannot be reached.
    #[error(transparent)]
    Engine(#[from] ensue::Error),
    /// The database holds something that Ensue has not written there.
    #[error("`{table}` holds {what}: it was not written by Ensue, or by a newer release; {remedy}")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// What is there.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl Error {
    /// Whether it may succeed later, as it is: the database, or the engine, is away or busy.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Database(error) => is_passing(error),
            Self::Engine(error) => matches!(
                error,
                ensue::Error::Engine(ensue::error::EngineError::Unavailable { .. })
            ),
            Self::Unreadable { .. } => false,
        }
    }
}

/// Whether a database may do later what it did not do now: it is away, starts, stops or is busy, or chose
/// this transaction to end a deadlock.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_passing_code(&code)),
        _ => false,
    }
}

/// SQLSTATE classes 08 (connection), 40 (rolled back), 53 (resources), 57P (shut down); MySQL's lock wait
/// timeout and too many connections; SQLite's BUSY and LOCKED, extended codes included.
fn is_passing_code(code: &str) -> bool {
    let is_busy = |number: u32| matches!(number & 0xff, 5 | 6);
    match code.len() {
        5 => {
            ["08", "40", "53", "57P"]
                .iter()
                .any(|it| code.starts_with(it))
                || matches!(code, "55P03" | "HY000")
        }
        _ => code.parse().is_ok_and(is_busy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        for code in [
            "08006", "40P01", "40001", "53300", "57P01", "5", "6", "517", "261",
        ] {
            assert!(is_passing_code(code), "{code}");
        }
        for code in ["23505", "42P01", "42S02", "22001", "1", "2067", "19"] {
            assert!(!is_passing_code(code), "{code}");
        }
        assert!(is_passing(&sqlx::Error::PoolTimedOut));
        assert!(!is_passing(&sqlx::Error::RowNotFound));
    }
}
