//! What the events of an aggregate say of their decision, as CloudEvents extension attributes.

use crate::event::Envelope;

/// The version that an event makes: how many events of the aggregate there are up to it.
pub(super) const VERSION: &str = "aggregateversion";
/// The id that the caller gave to the decision.
pub(super) const DECISION: &str = "decisionid";
/// The service that decides for the aggregate, where one does.
pub(super) const DECIDER: &str = "decidedby";

/// The version that an event says it makes: what was decided says so.
pub(super) fn version(event: &Envelope) -> Option<u64> {
    event.extension(VERSION)?.parse().ok()
}
