//! An event that was read and is in no member's hands yet.

use super::key_hash::KeyHash;
use crate::engine::Position;
use crate::event::Envelope;

/// In the queue of a member.
#[derive(Debug)]
pub(crate) struct ReadyEvent {
    pub(crate) position: Position,
    pub(crate) key: KeyHash,
    /// `None` when it has to be fetched.
    pub(crate) envelope: Option<Envelope>,
}

/// In the queue of its key, or on its way into a member's hands.
#[derive(Debug)]
pub(crate) struct QueuedEvent {
    pub(crate) position: Position,
    pub(crate) key: KeyHash,
    pub(crate) envelope: Envelope,
}

impl ReadyEvent {
    pub(crate) fn bytes(&self) -> usize {
        let envelope = self.envelope.as_ref();
        envelope.map_or(0, |envelope| envelope.content().len())
    }
}

impl QueuedEvent {
    pub(crate) fn bytes(&self) -> usize {
        self.envelope.content().len()
    }
}

impl From<QueuedEvent> for ReadyEvent {
    fn from(queued: QueuedEvent) -> Self {
        Self {
            position: queued.position,
            key: queued.key,
            envelope: Some(queued.envelope),
        }
    }
}
