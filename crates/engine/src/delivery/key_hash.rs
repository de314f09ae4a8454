//! What a topic and a key hash to: the slot that decides which member has the key, and a number for
//! counting.

use std::hash::{BuildHasher, Hasher as _};

use siphasher::sip::SipHasher13;

use crate::ids::Slot;
use crate::model::topic_key::KeyRef;

/// What a topic and a key hash to. Random, so that an attacker cannot choose keys that all fall into one
/// slot, and where processes share a log the same in all of them.
#[derive(Clone, Debug)]
pub(crate) enum KeyHasher {
    /// For this process alone.
    Random(foldhash::fast::RandomState),
    /// For every process of whatever version that knows the seed.
    Seeded(u64),
}

impl Default for KeyHasher {
    fn default() -> Self {
        Self::Random(foldhash::fast::RandomState::default())
    }
}

/// The hash of a topic and a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyHash(u32);

impl KeyHasher {
    pub(crate) fn hash_of(&self, topic: &str, key: &str) -> KeyHash {
        KeyHash(match self {
            Self::Random(state) => state.hash_one(KeyRef(topic, key)) as u32,
            Self::Seeded(seed) => seeded(*seed, topic, key),
        })
    }
}

/// SipHash-1-3, with the seed as the first half of its key, over the topic, a byte that no topic has,
/// and the key. Never to be changed: processes of different versions have to agree.
fn seeded(seed: u64, topic: &str, key: &str) -> u32 {
    let mut hasher = SipHasher13::new_with_keys(seed, 0);
    hasher.write(topic.as_bytes());
    hasher.write(&[0xff]);
    hasher.write(key.as_bytes());
    hasher.finish() as u32
}

impl KeyHash {
    /// The slot that the lane belongs to.
    pub(crate) fn slot(self) -> Slot {
        // 256 slots: the low byte is one.
        Slot::new(self.0 as u8)
    }

    /// What the slot does not say of it.
    pub(crate) fn number(self) -> usize {
        (self.0 >> 8) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seeded_hash_never_changes() {
        let hash = |seed, topic, key| KeyHasher::Seeded(seed).hash_of(topic, key).0;
        assert_eq!(hash(7, "orders", "o-1"), 3_594_046_866);
        assert_ne!(hash(7, "orders", "o-1"), hash(8, "orders", "o-1"));
        assert_ne!(hash(7, "a", "bc"), hash(7, "ab", "c"));
        let mut slots = [0; Slot::COUNT];
        for key in 0..25_600 {
            let hash = KeyHasher::Seeded(7).hash_of("orders", &format!("o-{key}"));
            slots[hash.slot().index()] += 1;
        }
        assert!(
            slots.iter().all(|count| (50..160).contains(count)),
            "{slots:?}"
        );
    }
}
