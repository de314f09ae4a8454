//! Lengths of time in the options of URLs.

use std::time::Duration;

/// Reads `500ms`, `90s`, `15m`, `12h` or `30d`.
pub fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60 * 1_000,
        "h" => 60 * 60 * 1_000,
        "d" => 24 * 60 * 60 * 1_000,
        _ => return None,
    };
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(millis)
        .map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_needs_a_unit() {
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse("30d"), Some(Duration::from_secs(30 * 86_400)));
        for bad in ["", "30", "s", "é", "-1s", "1.5s", "99999999999999999d"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
