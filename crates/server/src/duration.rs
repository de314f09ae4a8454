//! Durations as people write them in a configuration: `500ms`, `30s`, `1h30m`.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// The units, in milliseconds, the largest first.
const UNITS: [(&str, u128); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A duration as it is read back: to the millisecond.
pub(crate) fn written(duration: Duration) -> String {
    let mut millis = duration.as_millis();
    let mut text = String::new();
    for (unit, length) in UNITS {
        if millis >= length {
            // A text takes everything.
            let _ = write!(text, "{}{unit}", millis / length);
            millis %= length;
        }
    }
    match text.is_empty() {
        true => "0s".to_owned(),
        false => text,
    }
}

pub(crate) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&written(*value))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    ensue::parse_duration(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (millis, text) in [
            (0, "0s"),
            (500, "500ms"),
            (30_000, "30s"),
            (1_500, "1s500ms"),
            (5_400_000, "1h30m"),
            (86_400_000, "24h"),
            (3_600_001, "1h1ms"),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(written(duration), text);
            assert_eq!(ensue::parse_duration(text).unwrap(), duration);
        }
    }
}
