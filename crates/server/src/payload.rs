//! A payload, shown to a person: JSON indented, text as text, everything else as a hex dump.

use std::fmt::Write as _;

use ensue::{Codec, Envelope};

use crate::human;

const DUMP_BYTES_PER_LINE: usize = 16;
/// How much of a binary payload is dumped; the rest is counted.
const DUMP_BYTES_MAX: usize = 4096;

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
        && let Ok(value) = serde_json::from_slice::<serde_json::Value>(payload)
        && let Ok(text) = serde_json::to_string_pretty(&value)
    {
        return text
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
