//! The binary mode of CloudEvents over HTTP: attributes in headers that begin with `ce-`.

use std::borrow::Cow;

use axum::http::HeaderMap;
use ensue::{Envelope, InvalidEvent};
use percent_encoding::percent_decode;

use super::form::content_type;
use crate::problem::{Code, Problem};

const PREFIX: &str = "ce-";

/// The event of a request.
pub(super) fn read(
    headers: &HeaderMap,
    body: Vec<u8>,
    topic: Option<&str>,
) -> Result<Result<Envelope, InvalidEvent>, Problem> {
    let mut attributes = Vec::new();
    for (name, value) in headers {
        if let Some(name) = name.as_str().strip_prefix(PREFIX) {
            let value = decoded(name, value.as_bytes())?;
            attributes.push((Cow::Borrowed(name), Cow::Owned(value)));
        }
    }
    let content_type = content_type(headers)?;
    Ok(Envelope::from_cloudevent_parts(
        attributes,
        content_type,
        body,
        topic,
    ))
}

/// The value of an attribute: unquoted if it is quoted, then percent-decoded once.
fn decoded(name: &str, value: &[u8]) -> Result<String, Problem> {
    let value = match value {
        [b'"', quoted @ .., b'"'] => Cow::Owned(unescaped(quoted)),
        _ => Cow::Borrowed(value),
    };
    let bytes: Vec<u8> = percent_decode(&value).collect();
    String::from_utf8(bytes).map_err(|_| {
        Problem::new(
            Code::InvalidHeader,
            format!("the header `{PREFIX}{name}` is not UTF-8 once it is percent-decoded"),
        )
    })
}

/// Without the backslashes before quoted characters.
fn unescaped(quoted: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(quoted.len());
    let mut rest = quoted.iter();
    while let Some(byte) = rest.next() {
        let byte = if *byte == b'\\' {
            rest.next()
        } else {
            Some(byte)
        };
        bytes.extend(byte);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_unquoted_and_decoded_once() {
        for (header, value) in [
            ("plain", "plain"),
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            (r#""a \"quoted\" \\ text""#, r#"a "quoted" \ text"#),
            ("%2525", "%25"),
            ("100%", "100%"),
            ("\"", "\""),
            ("grün", "grün"),
        ] {
            assert_eq!(decoded("x", header.as_bytes()).unwrap(), value, "{header}");
        }
        let error = decoded("subject", b"%C3%28")
            .unwrap_err()
            .to_json()
            .to_string();
        assert!(error.contains("`ce-subject` is not UTF-8"), "{error}");
    }
}
