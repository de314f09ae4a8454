//! ZooKeeper's protocol, as far as locks need it: sessions, ephemeral nodes, watches, and checked writes.
//!
//! A client of our own: the crates there are bring a second asynchronous runtime, for a dozen messages.

mod session;
mod wire;

pub(crate) use self::session::{Failure, Session};
pub(crate) use self::wire::{Mode, Operation};
