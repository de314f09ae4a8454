//! The real binary against real directories, made through the crate's public face.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[cfg(feature = "otel")]
mod collector;
mod shop;

mod cesql;
mod checking;
mod consuming;
mod dead;
mod delivering;
mod doctor;
#[cfg(target_os = "linux")]
mod enduring;
mod following;
mod http_api;
mod killing;
mod link;
mod migrating;
#[cfg(feature = "sql")]
mod projections;
mod publishing;
mod reading;
mod refusing;
mod remote;
mod resetting;
mod rolling;
mod sagas;
mod securing;
mod serving;
mod supervising;
#[cfg(feature = "otel")]
mod telemetry;
