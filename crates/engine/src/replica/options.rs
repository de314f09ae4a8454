//! The options of a replica, and how its server is reached.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::engine::{Url, options};
use crate::error::Result;
use crate::shared_log::SharedLog;

/// How to get to the servers of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Connector {
    /// The usual port.
    pub port: u16,
    /// Connects once.
    pub dial: Dial,
}

/// Connects once.
pub type Dial = fn(Url) -> BoxFuture<'static, Result<Arc<dyn SharedLog>>>;

/// The options of a replica, beside those of its server and of the embedded engine.
pub const OPTIONS: &[(&str, &str)] = &[
    (
        "lease",
        "how long a silent process keeps its keys, such as `10s`; default 10s, at least 500ms",
    ),
    (
        "replica",
        "directory for this process's copy of the log; default: one in the user's cache",
    ),
    (
        "segment_bytes",
        "size of a segment file of the copy; default 8388608",
    ),
    options::PARKED_MAX,
    options::KEY_EVENTS_MAX,
    options::STATE_BYTES_MAX,
    options::SCHEDULES_MAX,
];

/// How long a silent process keeps its keys, unless the URL says otherwise.
const LEASE: Duration = Duration::from_secs(10);
const LEASE_MIN: Duration = Duration::from_millis(500);
/// Small: every process has its own copy, with a segment in reserve.
pub(super) const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

pub(super) fn lease_of(url: &Url) -> Result<Duration> {
    let lease = url.duration("lease")?.unwrap_or(LEASE);
    if lease < LEASE_MIN {
        return Err(url.invalid(format!(
            "`lease` is {lease:?}, it must be at least {LEASE_MIN:?}"
        )));
    }
    Ok(lease)
}
