//! A payload, shown to a person: JSON indented, text as text, everything else as a hex dump.

use std::fmt::Write as _;

use ensue::{Codec, Envelope};
use serde_json::value::RawValue;

use crate::human;

const DUMP_BYTES_PER_LINE: usize = 16;
/// How much of a binary payload is dumped; the rest is counted.
const DUMP_BYTES_MAX: usize = 4096;
/// How far JSON is indented: what is nested deeper would be blanks mostly.
const INDENTS_MAX: usize = 40;

/// The payload on one line of at most `chars_max` characters.
pub(crate) fn on_one_line(envelope: &Envelope, chars_max: usize) -> String {
    let payload = envelope.payload();
    // A character takes at most four bytes: no need to look at megabytes to show a line.
    let looked_at = payload.get(..chars_max.saturating_mul(4).saturating_add(4));
    match as_text(looked_at.unwrap_or(payload)) {
        _ if payload.is_empty() => String::new(),
        Some(text) => human::shorten(&human::printable(text), chars_max),
        None => format!(
            "{} of {}",
            human::bytes(payload.len() as u64),
            human::printable(envelope.content_type())
        ),
    }
}

/// The whole payload, on as many lines as it takes.
pub(crate) fn in_full(envelope: &Envelope) -> String {
    let payload = envelope.payload();
    if payload.is_empty() {
        return "(empty)".to_owned();
    }
    if let Ok(Codec::Json) = envelope.codec()
        && let Ok(json) = serde_json::from_slice::<&RawValue>(payload)
    {
        return indented(json.get())
            .lines()
            .map(human::printable)
            .collect::<Vec<_>>()
            .join("\n");
    }
    match std::str::from_utf8(payload)
        .ok()
        .filter(|text| is_text(text))
    {
        Some(text) => text
            .lines()
            .map(human::printable)
            .collect::<Vec<_>>()
            .join("\n"),
        None => hex_dump(payload),
    }
}

/// The bytes as text, if they are; a character cut off at the end is left out.
fn as_text(bytes: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    is_text(text).then_some(text)
}

fn is_text(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && !c.is_whitespace())
}

/// Valid JSON, indented; numbers, keys and strings stay as they were written.
fn indented(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut rest = json.trim_ascii();
    let break_line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth.min(INDENTS_MAX)));
    };
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => string_end(rest),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        rest = after.trim_ascii_start();
        match first {
            '{' | '[' if rest.starts_with(['}', ']']) => text.push(first),
            '{' | '[' => {
                depth += 1;
                text.push(first);
                break_line(&mut text, depth);
            }
            '}' | ']' if text.ends_with(['{', '[']) => text.push(first),
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut text, depth);
                text.push(first);
            }
            ',' => {
                text.push(first);
                break_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            _ => text.push_str(token),
        }
    }
    text
}

/// Where the JSON string at the start of `text` ends.
fn string_end(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !is_escaped => return at + 1,
            b'\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    text.len()
}

/// Offset, bytes, characters, sixteen bytes a line.
fn hex_dump(bytes: &[u8]) -> String {
    let shown = bytes.get(..DUMP_BYTES_MAX).unwrap_or(bytes);
    let mut dump = String::new();
    for (line, chunk) in shown.chunks(DUMP_BYTES_PER_LINE).enumerate() {
        let mut hex = String::new();
        for byte in chunk {
            let _ = write!(hex, "{byte:02x} ");
        }
        let visible = |byte: &u8| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '.',
        };
        let text: String = chunk.iter().map(visible).collect();
        let at = line * DUMP_BYTES_PER_LINE;
        let _ = writeln!(dump, "{at:08x}  {hex:48} {text}");
    }
    if shown.len() < bytes.len() {
        let left = human::bytes((bytes.len() - shown.len()) as u64);
        let _ = writeln!(dump, "… {left} more; --json has all of it as base64");
    }
    dump.truncate(dump.trim_end().len());
    dump
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(content_type: &str, payload: &[u8]) -> Envelope {
        Envelope::builder("t", "e")
            .opaque_payload(content_type, payload.to_vec())
            .build()
            .unwrap()
    }

    #[test]
    fn json_is_indented_text_is_text_and_bytes_are_dumped() {
        let json = event("application/json", br#"{"a":1}"#);
        assert_eq!(in_full(&json), "{\n  \"a\": 1\n}");
        let exact = r#"{"n":123456789012345678901234567890,"a":1.10,"a":[],"s":"{\"x\":[1,2]}\u0041","o":{}}"#;
        assert_eq!(
            in_full(&event("application/vnd.acme+json", exact.as_bytes())),
            "{\n  \"n\": 123456789012345678901234567890,\n  \"a\": 1.10,\n  \"a\": [],\n  \
             \"s\": \"{\\\"x\\\":[1,2]}\\u0041\",\n  \"o\": {}\n}"
        );
        assert_eq!(in_full(&event("application/json", b" [ ] ")), "[]");
        assert_eq!(in_full(&event("text/plain", b"hi\nyou")), "hi\nyou");
        assert_eq!(
            in_full(&event("application/cbor", b"\x00AB\xff")),
            format!("00000000  {:48} .AB.", "00 41 42 ff ")
        );
        assert_eq!(in_full(&event("text/plain", b"")), "(empty)");
    }

    #[test]
    fn a_line_is_short_and_harmless() {
        assert_eq!(
            on_one_line(&event("text/plain", "ä".repeat(50).as_bytes()), 3),
            "ää…"
        );
        assert_eq!(on_one_line(&event("text/plain", b"a\nb"), 9), "a\\nb");
        let binary = event("application/cbor", &[0, 255, 1]);
        assert_eq!(on_one_line(&binary, 40), "3 B of application/cbor");
        assert_eq!(on_one_line(&event("text/plain", b""), 9), "");
    }
}
