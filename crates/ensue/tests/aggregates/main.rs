//! Aggregates: decided by many at the same time, through crashes, and in services.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod account;
mod crashes;
mod deciding;
mod handled;
mod histories;
mod reservations;
mod servers;
mod service;
mod snapshots;
