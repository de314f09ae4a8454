//! An event that was read and is in no member's hands yet.

use super::key_hash::KeyHash;
use crate::event::Envelope;

/// In the queue of a member.
#[derive(Debug)]
pub(crate) struct ReadyEvent {
    pub(crate) position: u64,
    pub(crate) key: KeyHash,
    /// `None` when it has to be fetched.
    pub(crate) envelope: Option<Envelope>,
}

/// In the line of its key, or on its way into a member's hands.
#[derive(Debug)]
pub(crate) struct LinedEvent {
    pub(crate) position: u64,
    pub(crate) key: KeyHash,
    pub(crate) envelope: Envelope,
}

impl ReadyEvent {
    pub(crate) fn bytes(&self) -> usize {
        let envelope = self.envelope.as_ref();
        envelope.map_or(0, |envelope| envelope.content().len())
    }
}

impl LinedEvent {
    pub(crate) fn bytes(&self) -> usize {
        self.envelope.content().len()
    }
}

impl From<LinedEvent> for ReadyEvent {
    fn from(lined: LinedEvent) -> Self {
        Self {
            position: lined.position,
            key: lined.key,
            envelope: Some(lined.envelope),
        }
    }
}
