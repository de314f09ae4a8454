//! Read models: the value is what the events in the log make of it, whatever happens.
//!
//! `ENSUE_SERVICES` names the servers, as `cargo xtask services status --json` prints them.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod balances;
mod followed;
mod left_out;
mod servers;
mod snapshots;
