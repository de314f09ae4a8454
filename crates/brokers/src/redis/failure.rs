//! What a Redis server, or the connection to it, reports, and what that means to the caller.

use redis::{ErrorKind, RedisError};

use super::Server;
use crate::error::{EngineError, Error};

/// The error of an answer that makes no sense.
pub(super) fn strange(server: &Server) -> Error {
    server.unfit(
        "its answer is not what Redis answers",
        "check that it is Redis 6 or later",
    )
}

/// What the server or the connection reports, as what it means to the caller.
pub(super) fn failure(server: &Server, error: RedisError) -> Error {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return server.unfit(&error, LOGIN);
    }
    let code = error.code().unwrap_or_default();
    let text = error.to_string();
    match code {
        "NOAUTH" | "WRONGPASS" => server.unfit(text, LOGIN),
        "NOPERM" => server.unfit(text, RIGHTS),
        "WRONGTYPE" => server.unfit(text, "use another namespace: its keys hold something else"),
        "MOVED" | "ASK" | "CROSSSLOT" => server.unfit(
            text,
            "name the address of the cluster's node that owns the namespace's slot",
        ),
        "MISCONF" if is_full(&text) => Error::Engine(EngineError::DiskFull(text)),
        // What a script may not do is not said with a code of its own.
        _ if FORBIDDEN.iter().any(|it| text.contains(it)) => server.unfit(text, RIGHTS),
        _ if MISPLACED.iter().any(|it| text.contains(it)) => server.unfit(
            text,
            "check the number of the database in the URL, and that the server is Redis 6 or later \
             with streams and scripts",
        ),
        _ if text.contains(LOST) => Error::Engine(EngineError::Corrupt(format!(
            "the server's stream is shorter than what it had acknowledged: it was removed, emptied \
             or put back from an older copy ({text}); restore it, or restart to go on with what \
             the server has"
        ))),
        // Some were removed, or another program has added to the stream.
        _ if text.contains("equal or smaller than the target") => {
            Error::Engine(EngineError::Corrupt(format!(
                "the server's stream does not have as many entries as were numbered: {text}"
            )))
        }
        // Out of memory, loading, a replica since a moment ago, connections that broke.
        _ => server.unavailable(text),
    }
}

const RIGHTS: &str = "grant the user `+@all` on the keys `ensue:*`, or at least `xadd`, `xlen`, \
     `xrange`, `xread`, `eval`, `info` and `time`";
/// What is said to a user, or to a user's script, who may not do something.
const FORBIDDEN: [&str; 4] = [
    "NOPERM",
    "can't run this command",
    "can't access",
    "ACL failure",
];
/// What is said by a server that does not have what is asked for, and never will.
const MISPLACED: [&str; 4] = [
    "DB index is out of range",
    "invalid DB index",
    "nknown command",
    "nknown Redis command",
];
/// What `APPEND` says of a stream that is shorter than it was known to be.
const LOST: &str = "ENSUELOST";

const LOGIN: &str = "give a user and a password that it knows: `user:password@host`";

fn is_full(text: &str) -> bool {
    text.to_ascii_lowercase().contains("no space left")
}
