//! Durations as people write them: `200ms`, `10s`, `1m30s`.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;

/// The units, largest first, in nanoseconds.
const UNITS: [(&str, u64); 9] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000), // the micro sign
    ("μs", 1_000), // the Greek letter, which looks the same
    ("ns", 1),
];

/// The duration that `text` says, or what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let invalid = |reason: String| {
        format!(
            "`{text}` is not a duration: {reason}; a duration is whole numbers with the units d, \
             h, m, s, ms, us or ns, largest first"
        )
    };
    if text.is_empty() {
        return Err(invalid("it is empty".into()));
    }
    let mut rest = text;
    let mut nanoseconds = 0_u64;
    let mut unit_before = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after, |c| !c.is_ascii_digit());
        if number.is_empty() {
            return Err(invalid(format!("`{unit}` has no number before it")));
        }
        if unit.is_empty() {
            return Err(invalid(format!("`{number}` has no unit after it")));
        }
        let Some((_, scale)) = UNITS.into_iter().find(|(name, _)| *name == unit) else {
            return Err(invalid(format!("there is no unit `{unit}`")));
        };
        if scale >= unit_before {
            return Err(invalid(format!("`{unit}` comes too late or twice")));
        }
        unit_before = scale;
        nanoseconds = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(scale))
            .and_then(|part| nanoseconds.checked_add(part))
            .ok_or_else(|| invalid("it is longer than 584 years".into()))?;
        rest = after;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The durations that `text` says: `min..max`, or one for both.
pub(crate) fn parse_range(text: &str) -> Result<(Duration, Duration), String> {
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    let (min, max) = (parse(min.trim())?, parse(max.trim())?);
    if min > max {
        return Err(format!(
            "`{text}` ends before it starts: the first duration is the shorter one"
        ));
    }
    Ok((min, max))
}

/// The expression that makes `duration`.
pub(crate) fn expression(duration: Duration) -> TokenStream {
    let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
    quote!(::core::time::Duration::new(#seconds, #nanoseconds))
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up() {
        for (text, ms) in [
            ("200ms", 200),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("2h5ms", 7_200_005),
            ("1d", 86_400_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        assert_eq!(parse("3us7ns").unwrap(), Duration::from_nanos(3_007));
        assert_eq!(parse("3µs").unwrap(), parse("3μs").unwrap());
    }

    #[test]
    fn what_is_not_a_duration_says_why() {
        for (text, why) in [
            ("", "empty"),
            ("10", "no unit"),
            ("s", "no number"),
            ("10 s", "no unit ` s`"),
            ("1.5s", "no unit `.`"),
            ("-1s", "no number"),
            ("10sec", "no unit `sec`"),
            ("5s1m", "too late or twice"),
            ("1s1s", "too late or twice"),
            ("999999999999d", "584 years"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_range_is_ordered_and_may_be_one_duration() {
        let (min, max) = parse_range("200ms..30s").unwrap();
        assert_eq!((min.as_millis(), max.as_millis()), (200, 30_000));
        assert_eq!(parse_range("1s").unwrap(), parse_range("1s..1s").unwrap());
        assert!(parse_range("2s..1s").unwrap_err().contains("ends before"));
        assert!(parse_range("1s..").is_err());
    }
}
