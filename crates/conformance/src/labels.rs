//! What events are called in what a check says.

use std::ops::RangeInclusive;

use ensue_core::engine::{Appended, Position, Recorded};
use ensue_core::event::Envelope;

/// An event's id without what is different in every run: `topic/key/number`.
pub(super) fn label(envelope: &Envelope) -> String {
    let id = envelope.id();
    id.split_once('/').map_or(id, |(_, label)| label).to_owned()
}

/// The labels of events of one key.
pub(super) fn labels(topic: &str, key: &str, numbers: RangeInclusive<u64>) -> Vec<String> {
    numbers.map(|n| format!("{topic}/{key}/{n}")).collect()
}

pub(super) fn labels_of<'a>(envelopes: impl IntoIterator<Item = &'a Envelope>) -> Vec<String> {
    envelopes.into_iter().map(label).collect()
}

pub(super) fn recorded_labels(recorded: &[Recorded]) -> Vec<String> {
    labels_of(recorded.iter().map(|recorded| &recorded.envelope))
}

pub(super) fn sorted(mut labels: Vec<String>) -> Vec<String> {
    labels.sort_unstable();
    labels
}

/// An event's number within its key.
pub(super) fn number(envelope: &Envelope) -> u64 {
    let last = envelope.id().rsplit('/').next();
    last.and_then(|n| n.parse().ok()).unwrap_or_default()
}

pub(super) fn positions(appended: &[Appended]) -> Vec<Position> {
    appended.iter().map(|appended| appended.position).collect()
}
