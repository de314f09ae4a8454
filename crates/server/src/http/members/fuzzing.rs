//! The bodies of members' requests, for fuzzers.

use ensue::Clock;

use super::commit::said;
use super::join;
use crate::config::Limits;
use crate::security::Caller;

/// The body of a commit.
pub(in crate::http) fn commit(bytes: &[u8]) -> bool {
    let Ok(body) = serde_json::from_slice::<said::Body>(bytes) else {
        return false;
    };
    body.handled(&Clock::system(), &Caller::server()).is_ok()
}

/// The body of a join.
pub(in crate::http) fn joining(bytes: &[u8]) -> bool {
    let Ok(wanted) = serde_json::from_slice::<join::Wanted>(bytes) else {
        return false;
    };
    let (limits, caller) = (Limits::default(), Caller::server());
    wanted.lease(&limits).is_ok()
        && wanted.patterns(&caller).is_ok()
        && wanted.start().is_ok()
        && wanted.types().is_ok()
}
