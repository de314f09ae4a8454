//! Durations as people write them: `200ms`, `10s`, `1m30s`.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use proc_macro2::TokenStream;
use quote::quote;

/// The duration that `text` says, or what is wrong with it: by the rules of `ensue::parse_duration`, which
/// reads the durations in URLs and commands. A test of `ensue` compares the two.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let invalid = |reason| format!("`{text}` is not a duration: {reason}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_ordered_and_may_be_one_duration() {
        let (min, max) = parse_range("200ms..30s").unwrap();
        assert_eq!((min.as_millis(), max.as_millis()), (200, 30_000));
        assert_eq!(parse_range("1s").unwrap(), parse_range("1s..1s").unwrap());
        assert!(parse_range("2s..1s").unwrap_err().contains("ends before"));
        assert!(parse_range("1s..").is_err());
    }
}
