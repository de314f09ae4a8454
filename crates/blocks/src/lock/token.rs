//! What tells a holder from those before it.

use std::fmt;

/// Grows with every holder of a lock: what the lock protects keeps the largest that it has seen, and refuses
/// smaller ones. Tokens of two locks, or of two keepers, say nothing about each other.
///
/// As a text it has 20 digits, so that texts compare as the numbers do: Lua and JavaScript have no whole
/// numbers of 64 bits.
///
/// ```
/// use ensue_blocks::lock::FencingToken;
///
/// let (earlier, later) = (FencingToken::new(9), FencingToken::new(10));
/// assert!(earlier < later && earlier.to_string() < later.to_string());
/// assert_eq!(later.to_string(), "00000000000000000010");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(u64);

impl FencingToken {
    /// The token with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Its number for databases, whose largest whole number is 2^63 - 1: no keeper gives larger ones.
    pub fn to_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}", self.0)
    }
}
