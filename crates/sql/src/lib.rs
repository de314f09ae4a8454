//! Effects of events in databases, each once: PostgreSQL, MySQL, MariaDB and SQLite, by `sqlx`.
//!
//! An event's effect in a database and the position of who had it are committed in one transaction there.
//! The pool, the schema and the migrations are the program's own; Ensue adds a few tables whose names begin
//! with `ensue_` ([`tables`]).
//!
//! # Features
//!
//! | feature | what |
//! | --- | --- |
//! | `postgres` | PostgreSQL |
//! | `mysql` | MySQL and MariaDB |
//! | `sqlite` | SQLite, compiled from its C sources |
//! | `personal` | keys of what is personal in a database: `SqlKeys` |
//! | `tls` | TLS to servers, by rustls with ring and the system's certificates |
//!
//! None is on by default: nobody compiles what they do not use. Another TLS is the program's to choose, by the
//! features of `sqlx`.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod database;
mod dialect;
mod error;
mod hash;
pub mod inbox;
#[cfg(feature = "personal")]
mod keys;
pub mod outbox;
mod projection;
pub mod tables;

pub use crate::database::Database;
#[doc(hidden)]
pub use crate::database::{Cell, Row, Value};
pub use crate::error::{Error, Result};
#[cfg(feature = "personal")]
pub use crate::keys::{KEYS_MAX, SqlKeys};
pub use crate::projection::{
    Applied, Apply, BATCH_EVENTS_MAX, Comparison, Contents, LANES_MAX, PROJECTION_NAME_BYTES_MAX,
    Projection, Projections, Query, RunningProjection, Sql, TABLES_MAX, VersionStatus,
    wait_until_applied,
};
pub use sqlx;

/// The examples of the page.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../../docs/projections.md")]
mod projections {}
