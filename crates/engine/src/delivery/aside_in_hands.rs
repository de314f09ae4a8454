//! Put-aside events in members' hands.

use hashbrown::HashMap;

use super::key_hash::KeyHash;
use crate::engine::Position;
use crate::ids::MemberId;
use crate::model::topic_key::TopicKey;

/// Put-aside events in members' hands, by position.
#[derive(Debug, Default)]
pub(crate) struct AsideInHands(HashMap<Position, InHands, foldhash::fast::RandomState>);

/// One of them.
#[derive(Debug)]
pub(crate) struct InHands {
    pub(crate) owner: MemberId,
    pub(crate) key: TopicKey,
    pub(crate) hash: KeyHash,
    pub(crate) bytes: u32,
    is_committing: bool,
}

impl AsideInHands {
    pub(crate) fn has(&self, position: Position) -> bool {
        self.0.contains_key(&position)
    }

    pub(crate) fn hold(
        &mut self,
        position: Position,
        owner: MemberId,
        (key, hash): (TopicKey, KeyHash),
        bytes: u32,
    ) {
        let held = InHands {
            owner,
            key,
            hash,
            bytes,
            is_committing: false,
        };
        self.0.insert(position, held);
    }

    /// The event at `position` is in a commit of the member; whether it holds it.
    pub(crate) fn claim(&mut self, position: Position, member: MemberId) -> bool {
        let held = self.0.get_mut(&position);
        let Some(held) = held.filter(|it| it.owner == member && !it.is_committing) else {
            return false;
        };
        held.is_committing = true;
        true
    }

    /// The commit was not made.
    pub(crate) fn unclaim(&mut self, position: Position) {
        if let Some(held) = self.0.get_mut(&position) {
            held.is_committing = false;
        }
    }

    pub(crate) fn take_back(&mut self, position: Position) -> Option<InHands> {
        self.0.remove(&position)
    }

    /// Takes back what a member holds and does not commit.
    pub(crate) fn give_back(&mut self, member: MemberId) -> Vec<(Position, InHands)> {
        let held = |it: &InHands| it.owner == member && !it.is_committing;
        self.0.extract_if(|_, it| held(it)).collect()
    }

    /// All of them, and their keys.
    pub(crate) fn in_hands(&self) -> impl Iterator<Item = (KeyHash, Position)> {
        self.0.iter().map(|(position, held)| (held.hash, *position))
    }

    /// How many there are of a key, and their bytes.
    pub(crate) fn held_of(&self, key: KeyHash) -> (usize, usize) {
        let held = self.0.values().filter(|it| it.hash == key);
        held.fold((0, 0), |(events, bytes), it| {
            (events + 1, bytes + it.bytes as usize)
        })
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
