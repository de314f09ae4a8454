//! Settings that are within their range.

use std::time::Duration;

use super::error::ConfigError;

/// Refuses a value that is out of its range.
pub(super) fn within<T: PartialOrd + ToString>(
    name: &'static str,
    value: T,
    min: T,
    max: T,
) -> Result<(), ConfigError> {
    if value >= min && value <= max {
        return Ok(());
    }
    let (value, min, max) = (value.to_string(), min.to_string(), max.to_string());
    Err(ConfigError::Range {
        name,
        value,
        min,
        max,
    })
}

/// Refuses a duration that is out of its range.
pub(super) fn within_times(
    name: &'static str,
    value: Duration,
    min: Duration,
    max: Duration,
) -> Result<(), ConfigError> {
    if value >= min && value <= max {
        return Ok(());
    }
    let text = |duration: Duration| format!("{duration:?}");
    let (value, min, max) = (text(value), text(min), text(max));
    Err(ConfigError::Range {
        name,
        value,
        min,
        max,
    })
}
