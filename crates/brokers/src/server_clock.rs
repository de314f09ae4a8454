//! What a server's clock means to an engine.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::engine::Finding;

/// How far a server's clock may be from ours before it is worth a word.
const SKEW_MILLIS_MAX: i128 = 1_000;

/// Compares the server's clock, in milliseconds since 1970, to ours.
pub(crate) fn of_clock(theirs: i128) -> Finding {
    let ours = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let ahead = theirs - i128::try_from(ours.as_millis()).unwrap_or(i128::MAX);
    let found = format!("the server's clock is {ahead} ms ahead of this machine's");
    if ahead.abs() > SKEW_MILLIS_MAX {
        Finding::weak(
            "clock",
            found,
            "schedules and retries are due when this machine's clock says so, which other \
                 machines may see otherwise",
            "synchronise the clocks of all machines (NTP)",
        )
    } else {
        Finding::well("clock", found)
    }
}
