//! The CloudEvents 1.0 JSON format, for people, HTTP and other languages.
//!
//! What comes in goes out: attributes keep their types, `data` its bytes.
//!
//! | in | stored | out |
//! | --- | --- | --- |
//! | `data`, JSON by its content type or without one | the text as it stands in the event | `data` |
//! | `data`, a string of another content type | the string's bytes | `data` |
//! | `data_base64` | the bytes | `data_base64` |
//! | `subject` | the key | `subject` |
//! | `partitionkey` without `subject` | the key | `partitionkey` |
//! | `partitionkey` beside `subject` | an extension: order goes by the subject | `partitionkey` |
//! | `dataversion`, or `dataschema` as Ensue writes it | the version | both |
//!
//! In the binary mode, where attributes stand beside the payload, they are all text.
//!
//! The topic travels as the extension `topic`. Where an event was read from a log, the extensions
//! `ensueposition` and `ensueappended` say where and when; they are ignored on the way in.

mod batch;
mod read;
mod text;
mod write;

pub use self::batch::CloudEventBatch;
pub use self::write::CloudEvent;

use super::InvalidEvent;
use super::codec::{self, Codec};

/// What the attributes of the format, and those that Ensue adds, are called.
const ATTRIBUTES: [&str; 17] = [
    "specversion",
    "id",
    "source",
    "type",
    "topic",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "dataversion",
    "correlationid",
    "causationid",
    "traceparent",
    "data",
    POSITION,
    APPENDED,
    // Not a valid name, but it may be tried.
    "data_base64",
];
const POSITION: &str = "ensueposition";
const APPENDED: &str = "ensueappended";
const PARTITION_KEY: &str = "partitionkey";

/// Whether an extension may not have this name.
pub(super) fn is_attribute(name: &str) -> bool {
    ATTRIBUTES.contains(&name)
}

/// Whether a character may be in a URI, as far as one tells from it alone: those beyond ASCII may be
/// in an IRI.
#[doc(hidden)]
pub fn is_in_uri(c: char) -> bool {
    match c {
        '<' | '>' | '"' | '{' | '}' | '|' | '\\' | '^' | '`' => false,
        ' '..='~' => c != ' ',
        _ => !c.is_whitespace() && !c.is_control(),
    }
}

/// Checks that an attribute is a URI reference, as far as its characters tell.
pub(super) fn check_uri(name: &str, text: &str) -> Result<(), InvalidEvent> {
    match text.chars().find(|c| !is_in_uri(*c)) {
        None => Ok(()),
        Some(bad) => Err(invalid(
            name,
            format!("is not a URI: it contains {bad:?}, which has to be percent-encoded"),
        )),
    }
}

/// Checks that an attribute is an absolute URI.
pub(super) fn check_absolute_uri(name: &str, text: &str) -> Result<(), InvalidEvent> {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    };
    match text.split_once(':') {
        Some((scheme, _)) if is_scheme(scheme) => check_uri(name, text),
        _ => Err(invalid(name, "is not an absolute URI")),
    }
}

fn invalid(name: &str, problem: impl Into<String>) -> InvalidEvent {
    InvalidEvent::Attribute {
        name: name.chars().take(80).collect(),
        problem: problem.into(),
    }
}

/// How a payload of this content type is written as `data`; `None`: in base64 only.
fn data_form(content_type: &str) -> Option<DataForm> {
    if content_type.is_empty() || Codec::from_content_type(content_type) == Some(Codec::Json) {
        return Some(DataForm::Json);
    }
    let is_utf8 = codec::charset(content_type).is_none_or(codec::is_utf8);
    let is_binary = Codec::from_content_type(content_type).is_some();
    (is_utf8 && !is_binary).then_some(DataForm::Text)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DataForm {
    Json,
    Text,
}

#[cfg(test)]
mod tests;
