use std::fmt;

/// A place in the log: the number of records appended before it, starting at 0.
///
/// Positions are never reused and have no gaps. Every range in this crate is given by an
/// inclusive start and an exclusive end, so that [`Log::durable`](crate::Log::durable) is the
/// position *after* the last durable record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// The position of the first record ever appended.
    pub const ZERO: Self = Self(0);
    /// A position no record will reach.
    pub const MAX: Self = Self(u64::MAX);

    /// The position after `records` records.
    #[must_use]
    pub const fn new(records: u64) -> Self {
        Self(records)
    }

    /// The number of records before this position.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position after this one. Stays at [`Position::MAX`] when there.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position `records` further on, at most [`Position::MAX`].
    #[must_use]
    pub const fn plus(self, records: u64) -> Self {
        Self(self.0.saturating_add(records))
    }

    /// How many records lie between `earlier` and this position; 0 when `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for Position {
    fn from(records: u64) -> Self {
        Self(records)
    }
}

impl From<Position> for u64 {
    fn from(position: Position) -> Self {
        position.0
    }
}
