//! Lengths of time as people write them: in URLs, attributes and on the command line.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// A text that is not a length of time, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration: {reason}")]
pub struct InvalidDuration {
    text: String,
    reason: &'static str,
}

/// Reads a length of time: `500ms`, `90s`, `1m30s`, `1.5h`, `2d`, or in words, `1 minute 30 seconds`; a
/// day has 24 hours.
///
/// Every duration in Ensue is written like this: the options of URLs, `timeout = "…"` and `backoff = "…"`
/// of a service, and what commands take.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(ensue::parse_duration("1m30s")?, Duration::from_secs(90));
/// # Ok::<(), ensue::InvalidDuration>(())
/// ```
///
/// # Errors
/// [`InvalidDuration`] for everything else, for what is negative, and for months and years, which have
/// no fixed length.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    // The macros read durations by the same rules, at compile time: `crates/macros/src/duration.rs`.
    let invalid = |reason| InvalidDuration {
        text: text.to_owned(),
        reason,
    };
    let malformed = || invalid("write it as 500ms, 90s, 1m30s or 2d");
    // The Greek letter looks the same as the micro sign.
    let span: Span = text.replace('μ', "µ").parse().map_err(|_| malformed())?;
    let length = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| invalid("months and years have no fixed length; write it in days"))?;
    match Duration::try_from(length) {
        Ok(length) if !text.starts_with(['-', '+']) => Ok(length),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_numbers_with_units_largest_first() {
        for (text, millis) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("1m30s", 90_000),
            ("1.5s", 1_500),
            ("2h5ms", 7_200_005),
            ("1h 30m", 5_400_000),
            ("10 seconds", 10_000),
            ("30d", 30 * 86_400_000),
            ("1w", 7 * 86_400_000),
            ("0s", 0),
        ] {
            let read = parse_duration(text);
            assert_eq!(read, Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_duration("3us7ns"), Ok(Duration::from_nanos(3_007)));
        assert_eq!(parse_duration("3µs"), parse_duration("3μs"));
    }

    #[test]
    fn what_is_not_a_duration_says_how_to_write_one() {
        for text in [
            "",
            "30",
            "s",
            "é",
            "-1s",
            "+1s",
            "5s ago",
            "5s1m",
            "1s1s",
            "99999999999999999d",
        ] {
            let said = parse_duration(text).unwrap_err().to_string();
            assert!(said.contains("1m30s"), "{text}: {said}");
        }
        for text in ["1mo", "2y"] {
            let said = parse_duration(text).unwrap_err().to_string();
            assert!(said.contains("write it in days"), "{text}: {said}");
        }
    }
}
