//! The engine that another process serves: `ensue://host:port`.
//!
//! A program that uses it depends on `ensue` with the feature `remote`; this crate is behind it. The server is
//! `ensue serve`, or an `ensue_server::Server` in the program that owns the log. What it serves keeps the
//! contract; what is kept here is that nothing of it is lost on the way: calls are tried again, members
//! outlive connections that are cut.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod calls;
mod carrier;
mod engine;
mod greeting;
mod link;
mod member;
mod options;
mod seat;
mod tls;
mod token;

use std::sync::Arc;

use ensue_core::engine::{Finding, SharedEngine, Url};
use ensue_core::error::Result;
use ensue_core::time::Clock;

use self::engine::Remote;
use self::options::Options;

pub use self::options::OPTIONS;

/// Connects to the server that `url` names; one that is away is tried for as long as the URL says.
///
/// # Errors
/// [`OpenError::Url`](ensue_core::error::OpenError::Url), and
/// [`EngineError::Unavailable`](ensue_core::error::EngineError::Unavailable) when the server does not answer in
/// time.
#[doc(hidden)]
pub async fn open(url: Url, clock: Clock) -> Result<SharedEngine> {
    let remote = Remote::open(Options::of(&url)?, clock).await?;
    Ok(Arc::new(remote))
}

/// Looks at the server that `url` names, once.
///
/// # Errors
/// As for [`open`].
#[doc(hidden)]
pub async fn examine(url: &Url) -> Result<Vec<Finding>> {
    engine::examine(Options::of(url)?).await
}
