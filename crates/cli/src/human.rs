//! How amounts and times are written for people.

use std::fmt::Write as _;
use std::time::Duration;

use ensue::Timestamp;

/// `1204` as `1,204`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 event`, `2 events`.
pub(crate) fn counted(number: usize, one: &str) -> String {
    let many = if number == 1 { "" } else { "s" };
    format!("{} {one}{many}", count(number as u64))
}

/// `10485760` as `10.0 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut shown = "KiB";
    for unit in UNITS.iter().skip(1) {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        shown = unit;
    }
    format!("{amount:.1} {shown}")
}

/// The two largest parts of a duration: `3d 4h`, `2m 5s`, `1.25s`, `40ms`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [
        ("d", seconds / 86_400),
        ("h", seconds / 3_600 % 24),
        ("m", seconds / 60 % 60),
        ("s", seconds % 60),
    ];
    let Some(first) = parts.iter().position(|(_, amount)| *amount > 0) else {
        return format!("{}ms", duration.as_millis());
    };
    if seconds < 60 {
        let text = format!("{:.2}", duration.as_secs_f64());
        return format!("{}s", text.trim_end_matches('0').trim_end_matches('.'));
    }
    let shown = parts.iter().skip(first).take(2);
    let shown: Vec<_> = shown
        .filter(|(_, amount)| *amount > 0)
        .map(|(unit, amount)| format!("{amount}{unit}"))
        .collect();
    shown.join(" ")
}

/// How long before or after `now` a time is: `5m ago`, `in 2h 1m`, `now`.
pub(crate) fn relative(at: Timestamp, now: Timestamp) -> String {
    let (past, future) = (now.since(at), at.since(now));
    let whole = |span: Duration| duration(Duration::from_secs(span.as_secs()));
    if past.as_secs() > 0 {
        format!("{} ago", whole(past))
    } else if future.as_secs() > 0 {
        format!("in {}", whole(future))
    } else {
        "now".to_owned()
    }
}

/// A time to the millisecond, in the form that every option of this command takes back.
pub(crate) fn time(at: Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(at.as_micros()) {
        Ok(at) => at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        Err(_) => at.to_string(),
    }
}

/// A time, and how far away it is.
pub(crate) fn time_and_distance(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", time(at), relative(at, now))
}

/// `text` with what would disturb a terminal escaped: an event's payload must not move the cursor.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmless(c) {
            shown.push(c);
        } else {
            let _ = write!(shown, "{}", c.escape_default());
        }
    }
    shown
}

/// The same for a text of several lines.
pub(crate) fn printable_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(printable).collect();
    lines.join("\n")
}

/// Whether a terminal shows the character as it is: neither a control code nor one that turns the
/// direction of the text around.
fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// At most `chars_max` characters of `text`, the last one `…` if some are missing.
pub(crate) fn shorten(text: &str, chars_max: usize) -> String {
    if text.chars().nth(chars_max).is_none() {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_write_them() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_204_000), "1,204,000");
        assert_eq!(counted(1, "event"), "1 event");
        assert_eq!(counted(0, "event"), "0 events");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(64 << 20), "64.0 MiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
    }

    #[test]
    fn durations_show_their_two_largest_parts() {
        for (millis, text) in [
            (0, "0ms"),
            (40, "40ms"),
            (1_250, "1.25s"),
            (10_000, "10s"),
            (125_000, "2m 5s"),
            (3_600_000, "1h"),
            (3_605_000, "1h"),
            (273_600_000, "3d 4h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn times_are_relative_to_now() {
        let now = Timestamp::from_micros(1_000_000_000);
        let minute = Duration::from_secs(60);
        assert_eq!(relative(now, now), "now");
        assert_eq!(relative(now, now.plus(minute)), "1m ago");
        assert_eq!(relative(now.plus(minute), now), "in 1m");
        assert_eq!(time(now), "1970-01-01T00:16:40.000Z");
    }

    #[test]
    fn long_texts_are_cut_and_hostile_ones_escaped() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("äöüß", 3), "äö…");
        assert_eq!(printable("a\tb\u{1b}[2J"), "a\\tb\\u{1b}[2J");
        assert_eq!(printable("grün ✓"), "grün ✓");
    }
}
