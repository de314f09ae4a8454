//! Times as people write them.

use std::str::FromStr;
use std::time::Duration;

use ensue::Timestamp;

const TIME_FORMS: &str = "write it as 2026-05-17T09:30:00Z, as 2026-05-17 (midnight UTC), or as \
                          15m or 2d for that long ago";

/// A point in time, or how long ago it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Timestamp),
    Ago(Duration),
}

impl Moment {
    /// The point in time that is meant, seen from `now`.
    pub(crate) fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now - ago,
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        if let Ok(day) = text.parse::<jiff::civil::Date>()
            && let Ok(midnight) = day.to_zoned(jiff::tz::TimeZone::UTC)
        {
            let at = midnight.timestamp().as_microsecond();
            return Ok(Self::At(Timestamp::from_micros(at)));
        }
        let ago = text.trim_end_matches("ago").trim_end();
        ensue::parse_duration(ago)
            .map(Self::Ago)
            .map_err(|_| format!("it is not a time; {TIME_FORMS}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_so_long_ago() {
        let now: Timestamp = "2026-05-17T12:00:00Z".parse().unwrap();
        for (text, meant) in [
            ("2026-05-17T09:30:00Z", "2026-05-17T09:30:00Z"),
            ("2026-05-17T11:30:00+02:00", "2026-05-17T09:30:00Z"),
            ("2026-05-16", "2026-05-16T00:00:00Z"),
            ("15m", "2026-05-17T11:45:00Z"),
            ("1h30m", "2026-05-17T10:30:00Z"),
            ("2d ago", "2026-05-15T12:00:00Z"),
        ] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.resolve(now).to_string(), meant, "{text}");
        }
        for bad in ["", "yesterday", "-5m", "5", "1mo", "2026-13-01"] {
            let error = bad.parse::<Moment>().unwrap_err();
            assert!(error.contains("2026-05-17T09:30:00Z"), "{bad}: {error}");
        }
    }
}
