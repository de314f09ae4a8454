//! Settings that are within their range.

use std::fmt;
use std::time::Duration;

/// A value that is out of its range.
#[derive(Debug)]
pub(crate) struct OutOfRange {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) min: String,
    pub(crate) max: String,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            value,
            min,
            max,
        } = self;
        write!(
            f,
            "`{name}` is or has {value}; it must be between {min} and {max}"
        )
    }
}

impl From<OutOfRange> for String {
    fn from(refused: OutOfRange) -> Self {
        refused.to_string()
    }
}

/// Refuses a value that is out of its range.
pub(crate) fn within<T: PartialOrd + ToString>(
    name: &'static str,
    value: T,
    min: T,
    max: T,
) -> Result<(), OutOfRange> {
    check(name, value, (min, max), T::to_string)
}

/// Refuses a duration that is out of its range.
pub(crate) fn within_times(
    name: &'static str,
    value: Duration,
    min: Duration,
    max: Duration,
) -> Result<(), OutOfRange> {
    check(name, value, (min, max), |time| format!("{time:?}"))
}

fn check<T: PartialOrd>(
    name: &'static str,
    value: T,
    (min, max): (T, T),
    text: impl Fn(&T) -> String,
) -> Result<(), OutOfRange> {
    if value >= min && value <= max {
        return Ok(());
    }
    let (value, min, max) = (text(&value), text(&min), text(&max));
    Err(OutOfRange {
        name,
        value,
        min,
        max,
    })
}
