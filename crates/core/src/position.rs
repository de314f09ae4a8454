//! Where an event stands.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where an event stands in its engine's log.
///
/// Positions of one topic and key increase in append order. On an engine with one log (embedded)
/// all positions do. They say nothing across engines.
///
/// A position is that of one event, in the one partition that has it: of an event that was read or
/// appended, of a dead letter, of what holds up a key, of what an error is about. A place to read from,
/// to start at or to go on from is in all partitions: that is a [`Cursor`](crate::Cursor), which a position
/// [becomes](crate::Cursor#impl-From<Position>-for-Cursor).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
#[repr(transparent)]
pub struct Position(u64);

impl Position {
    /// The first position there can be.
    pub const ZERO: Self = Self(0);

    /// The position with this number.
    #[inline]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The position's number.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position after this one.
    #[must_use]
    #[inline]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// How many positions lie between `earlier` and this one; 0 when `earlier` is not earlier.
    #[must_use]
    #[inline]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl FromStr for Position {
    type Err = ParseIntError;

    /// Reads what a position prints as: the form in which it goes through other programs, as the token that
    /// stands for an event that was written.
    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
