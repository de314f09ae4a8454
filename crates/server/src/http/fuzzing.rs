//! What requests say, for fuzzers.

use super::{events, members};

pub(crate) fn event(bytes: &[u8]) -> bool {
    events::fuzzing::event(bytes)
}

pub(crate) fn query(bytes: &[u8]) -> bool {
    events::fuzzing::query(bytes)
}

pub(crate) fn commit(bytes: &[u8]) -> bool {
    members::fuzzing::commit(bytes)
}

pub(crate) fn joining(bytes: &[u8]) -> bool {
    members::fuzzing::joining(bytes)
}
