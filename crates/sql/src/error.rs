//! What can go wrong between a program, its database and its engine.

use ensue_core::error::Outlook;

/// The databases that are compiled in, as URLs name them.
const KINDS: &[&str] = &[
    #[cfg(feature = "postgres")]
    "postgres://",
    #[cfg(feature = "mysql")]
    "mysql://",
    #[cfg(feature = "sqlite")]
    "sqlite:",
];

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
    /// A projection or a table has a name that cannot be one in a database.
    #[error(
        "`{name}` cannot name a {what}: a name is lower-case letters, digits and `_`, begins with a letter, and \
         has at most {bytes_max} bytes"
    )]
    Name {
        /// What was to be named.
        what: &'static str,
        /// The name.
        name: String,
        /// How long a name may be.
        bytes_max: usize,
    },
    /// A projection, or a setting of it, contradicts itself. Nothing runs.
    #[error("the projection `{projection}`: {problem}")]
    Projection {
        /// Its name.
        projection: String,
        /// What is wrong, and what is right.
        problem: String,
    },
    /// There is no such projection in this database.
    #[error("there is no projection `{projection}` in this database: {known}")]
    UnknownProjection {
        /// The name that was asked for.
        projection: String,
        /// Those that there are.
        known: String,
    },
    /// A projection has no such version.
    #[error(
        "the projection `{projection}` has no version {version}; it has {known}: `ensue projection list`"
    )]
    UnknownVersion {
        /// The projection.
        projection: String,
        /// The version that was asked for.
        version: i64,
        /// Those that there are.
        known: String,
    },
    /// A version that is not built any more cannot be read.
    #[error("version {version} of `{projection}` is retired: rebuild the projection instead")]
    Retired {
        /// The projection.
        projection: String,
        /// The version.
        version: i64,
    },
    /// A version is too far behind the one that is read to take its place.
    #[error(
        "version {version} of `{projection}` is {behind} positions behind the one that is read: wait until it \
         has caught up (`ensue projection list`), or force the switch"
    )]
    Behind {
        /// The projection.
        projection: String,
        /// The version.
        version: i64,
        /// How far it is behind, in positions of the log.
        behind: i64,
    },
    /// Two versions did not come to one position in time.
    #[error(
        "versions {first} and {second} of `{projection}` did not come to one position within {waited_ms} ms: \
         see whether programs that build both are running"
    )]
    NotComparable {
        /// The projection.
        projection: String,
        /// One version.
        first: i64,
        /// The other one.
        second: i64,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// What the database holds was built from another log: this one has other events where it was, or ends
    /// before.
    #[error(
        "`{group}` was built from another log, or this log was put back to an older state: {what}; put \
         both back to what belongs together, or rebuild the projection"
    )]
    OtherLog {
        /// The group of the projection's version.
        group: String,
        /// What was found.
        what: String,
    },
    /// Retention has removed events that the database has not.
    #[error(
        "`{group}` needs events that retention has removed, from position {position} on: the database was \
         put back to a backup that is older than what the log keeps; rebuild the projection from what is kept, \
         or put the log back too"
    )]
    Trimmed {
        /// The group of the projection's version.
        group: String,
        /// Where it would go on.
        position: i64,
    },
    /// A URL names no database that this program can reach.
    #[error(
        "`{scheme}:` is no database here: {}",
        match KINDS {
            [] => "no feature of ensue-sql is compiled in; there are `postgres`, `mysql` and `sqlite`".to_owned(),
            kinds => format!("compiled in are {}", kinds.join(", ")),
        }
    )]
    Url {
        /// The URL's scheme.
        scheme: String,
    },
    /// The database refuses to note that an event could not be applied.
    #[error("an event could neither be applied nor put aside: {0}")]
    Refused(String),
    /// The engine does not have what the database says that it has: it was replaced, or put back from an
    /// older backup, or another engine is meant.
    #[error(
        "the database has relayed {database} batches of its outbox, and the engine knows of {engine}: events \
         that were relayed are not in it; open the engine that had them, or give up on them and let the outbox \
         begin anew (`Outbox::begin_anew`)"
    )]
    EngineBehind {
        /// How many batches the database knows of.
        database: i64,
        /// How many the engine knows of.
        engine: i64,
    },
    /// What the engine holds of how far an outbox was relayed is not what this program can read.
    #[error(
        "how far the outbox was relayed cannot be read at position {position}: {reason}; was it written by a \
         newer release?"
    )]
    Progress {
        /// Where it is.
        position: ensue::Position,
        /// What is wrong with it.
        reason: String,
    },
    /// An event for later was published to an outbox, which has no timers.
    #[error(
        "an outbox relays events as soon as their transaction has committed, and this one is for later; \
         publish it without a time and let its handler schedule what follows"
    )]
    ForLater,
    /// The name of a group is longer than an inbox has room for. The transaction can go on.
    #[error(
        "the name of the group `{}…` has {} bytes, and an inbox has room for {bytes_max}: give the service a \
         shorter name",
        .group.chars().take(40).collect::<String>(),
        .group.len()
    )]
    GroupName {
        /// The name.
        group: String,
        /// How many bytes it may have.
        bytes_max: usize,
    },
    /// An inbox knows events that are not in the log which is read now.
    #[error(
        "the group `{group}` has applied an event at position {last} that is not in this log, and is handed \
         one at {position}: the log was put back from an older backup, or is another one; put the database back \
         as well, or, if nothing of the log was applied before, let the inbox forget the group (`Inbox::forget`)"
    )]
    InboxOtherLog {
        /// The group.
        group: String,
        /// Where the event at hand is.
        position: ensue::Position,
        /// Where the last one was that was applied.
        last: ensue::Position,
    },
}

impl Error {
    /// Whether it may succeed later, as it is: the database, or the engine, is away or busy.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Database(error) => is_passing(error),
            Self::Engine(error) => error.outlook() == Outlook::Passes,
            _ => false,
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

/// SQLSTATE classes 08 (connection), 40 (rolled back), 53 (resources), 57P (shut down); a statement that was
/// cancelled, or came to a server that only reads since a failover; MySQL's lock wait timeout and too many
/// connections; SQLite's BUSY and LOCKED, extended codes included.
fn is_passing_code(code: &str) -> bool {
    let is_busy = |number: u32| matches!(number & 0xff, 5 | 6);
    match code.len() {
        5 => {
            ["08", "40", "53", "57P"]
                .iter()
                .any(|it| code.starts_with(it))
                || matches!(code, "25006" | "55P03" | "57014" | "HY000")
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
            "08006", "40P01", "40001", "53300", "57P01", "57014", "25006", "5", "6", "517", "261",
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
