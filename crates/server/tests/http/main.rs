//! A real server on a free port of loopback, over a real directory, and a real client.

#![allow(
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and opens connections"
)]

mod caller;
mod client;
mod described;
mod endpoint;
mod member;
mod pki;
mod receiver;
mod secure;
mod site;

mod appending;
mod audit;
mod batches;
mod calls;
mod calls_hostile;
mod calls_limits;
mod calls_lost;
mod calls_operating;
mod calls_reading;
mod consuming;
mod dashboards;
mod disk;
mod half_closed;
mod hostile;
mod jwt;
mod leasing;
mod limits;
mod mending;
mod openapi;
mod operating;
mod overtaking;
mod owasp;
mod python;
mod reading;
mod reloading;
mod remote;
mod remote_again;
mod requesting;
mod sagas;
mod scheduling;
mod slow;
mod stopping;
mod streaming;
mod subscribing;
mod tls;
mod tokens;
mod traces;
mod webhooks_access;
mod webhooks_in;
mod webhooks_out;
mod webhooks_reach;

// Who calls, and what they see.
mod calls_refused;
mod jwks;
mod login;
mod masking;
mod signer;
mod sources;
