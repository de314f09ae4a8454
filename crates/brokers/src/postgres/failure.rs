//! What a PostgreSQL server, or the connection to it, reports, and what that means to the caller.

use std::error::Error as _;
use std::io;

use tokio_postgres::error::SqlState;

use crate::error::{EngineError, Error};
use crate::shared_log::Server;
use crate::socket;

const LOGIN: &str = "give a user and a password that it knows: `user:password@host/database`";

/// What the server or the connection reports, as what it means to the caller.
pub(super) fn failure(server: &Server, error: &tokio_postgres::Error) -> Error {
    if let Some(error) = error.as_db_error() {
        let text = format!("{} ({})", error.message(), error.code().code());
        return refused(server, error.code(), text);
    }
    let encrypting = error.source().and_then(|it| it.downcast_ref::<io::Error>());
    if let Some(error) = encrypting {
        return socket::refusal(server, error);
    }
    let text = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match text.as_str() {
        _ if text.contains("authentication") || text.contains("password") => {
            server.unfit(text, LOGIN)
        }
        _ if text.contains("TLS") => server.unfit(
            text,
            "turn on `ssl` on the server, or leave `tls=true` out of the URL",
        ),
        _ => server.unavailable(text),
    }
}

/// The error of tables that were there, and are not any more.
pub(super) fn gone(server: &Server, text: String) -> Error {
    Error::Engine(EngineError::Corrupt(format!(
        "the tables of the log were removed from the server at `{}`: {text}; restore them, or \
         restart to begin a new log",
        server.shown
    )))
}

fn refused(server: &Server, code: &SqlState, text: String) -> Error {
    match *code {
        SqlState::DISK_FULL => Error::Engine(EngineError::DiskFull(text)),
        SqlState::UNIQUE_VIOLATION => Error::Engine(EngineError::Corrupt(format!(
            "the table and its counter contradict each other: {text}; restore them, or start with \
             another namespace"
        ))),
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => {
            Error::Engine(EngineError::Corrupt(text))
        }
        SqlState::INVALID_CATALOG_NAME => {
            server.unfit(text, "make the database with `CREATE DATABASE`")
        }
        SqlState::INSUFFICIENT_PRIVILEGE => server.unfit(
            text,
            "grant the user CREATE on the schema, or SELECT, INSERT and UPDATE on tables that \
             another user made",
        ),
        SqlState::UNDEFINED_TABLE => gone(server, text),
        _ if has_mixed_up(code) => pooled(server),
        _ if code.code().starts_with("28") => server.unfit(text, LOGIN),
        _ if code.code().starts_with("42") => server.unfit(
            text,
            "use another `namespace` if these tables belong to another program",
        ),
        // Too many connections, a standby since a moment ago, shutting down, cancelled, locked.
        _ => server.unavailable(text),
    }
}

/// Whether the server, or what is between us, says that a prepared statement is not what it was.
fn has_mixed_up(code: &SqlState) -> bool {
    matches!(
        *code,
        SqlState::DUPLICATE_PSTATEMENT | SqlState::INVALID_SQL_STATEMENT_NAME
    )
}

/// The error of sessions that are shared.
pub(super) fn pooled(server: &Server) -> Error {
    server.unfit(
        "a pooler between us and the server gives its connections to several clients in turn, as \
         PgBouncer does with `pool_mode = transaction`: prepared statements, settings and \
         notifications do not last on them",
        "name the address of PostgreSQL itself, or set `pool_mode = session` for this database",
    )
}
