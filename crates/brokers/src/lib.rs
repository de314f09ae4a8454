//! The servers that an engine of Ensue can share a log on, a room each.
//!
//! Programs depend on [`ensue`](https://docs.rs/ensue) and switch on the feature of their server. A room
//! says how to get to its servers (`CONNECTOR`) and which options its URLs take (`OPTIONS`); its shared log
//! passes the suite in `tests`. A new one is a room, a feature, and a line in the table of engines.
//!
//! Building blocks get to their servers from here, too: by the `Client` of a room, and by [`Dialer`].

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]
#![allow(
    clippy::disallowed_types,
    reason = "this is where sockets to servers are opened"
)]
#![cfg_attr(
    not(all(
        feature = "kafka",
        feature = "nats",
        feature = "postgres",
        feature = "rabbitmq",
        feature = "redis"
    )),
    allow(
        dead_code,
        unused_imports,
        reason = "each server uses a part of what they share"
    )
)]

#[cfg(feature = "sockets")]
mod dialer;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod last_seen;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod reading;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod reconnecting;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod server_clock;
#[cfg(feature = "sockets")]
mod socket;
#[cfg(test)]
mod tests;

#[cfg(feature = "sockets")]
pub use self::dialer::{Connection, Dialer};

pub(crate) use ensue_core::{engine, error, time};
pub(crate) use ensue_engine::shared_log;
