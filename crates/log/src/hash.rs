//! SipHash-1-3 with 128 bits of output, keyed with random bytes of the log. The width makes an
//! accidental collision of two keys practically impossible (about 1e-18 at ten billion keys), the
//! key makes a deliberate one so: expectations can trust the hash without reading the record.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// The hash of a topic and a key, as two words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyHash(pub(crate) u64, pub(crate) u64);

/// The log's secret.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashKey(pub(crate) [u8; 16]);

impl HashKey {
    pub(crate) fn hash(self, topic: &[u8], key: &[u8]) -> KeyHash {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        // The topic's length first, so that ("ab", "c") and ("a", "bc") differ.
        hasher.write(&(topic.len() as u32).to_le_bytes());
        hasher.write(topic);
        hasher.write(key);
        let hash = hasher.finish128();
        KeyHash(hash.h1, hash.h2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are part of the file format: they must never change. They were computed with a
    /// second implementation.
    #[test]
    fn values_are_stable() {
        let key = HashKey(*b"0123456789abcdef");
        assert_eq!(
            key.hash(b"orders", b"order-17"),
            KeyHash(0x8577_844e_bb52_e5a8, 0xf32f_b362_8153_2e55)
        );
        assert_eq!(
            key.hash(b"", b""),
            KeyHash(0x0321_259c_db71_fc7f, 0xd996_6b7d_5f32_1981)
        );
        assert_ne!(key.hash(b"ab", b"c"), key.hash(b"a", b"bc"));
        assert_ne!(key.hash(b"", b""), key.hash(b"", b"\0"));
    }
}
