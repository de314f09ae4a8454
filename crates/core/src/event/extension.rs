//! CloudEvents extension attributes: their values, and how the envelope holds them.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};

const TEXT: u8 = 0;
const BOOLEAN: u8 = 1;
const INTEGER: u8 = 2;
/// Not an extension: an attribute that is hardly ever there.
pub(super) const RARE: u8 = 3;

/// The time as its publisher wrote it.
pub(super) const TIME: &str = "time";
pub(super) const DATA_SCHEMA: &str = "dataschema";

/// The value of a CloudEvents extension attribute. Times, URIs and binary values are text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtensionValue<'a> {
    /// A string.
    Text(Cow<'a, str>),
    /// A boolean.
    Boolean(bool),
    /// An integer; CloudEvents has those of 32 bits only.
    Integer(i32),
}

impl ExtensionValue<'_> {
    /// The value as text.
    pub fn as_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Boolean(true) => Cow::Borrowed("true"),
            Self::Boolean(false) => Cow::Borrowed("false"),
            Self::Integer(number) => Cow::Owned(number.to_string()),
        }
    }

    /// The value, owned.
    pub fn into_owned(self) -> ExtensionValue<'static> {
        match self {
            Self::Text(text) => ExtensionValue::Text(Cow::Owned(text.into_owned())),
            Self::Boolean(value) => ExtensionValue::Boolean(value),
            Self::Integer(value) => ExtensionValue::Integer(value),
        }
    }

    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Text(_) => TEXT,
            Self::Boolean(_) => BOOLEAN,
            Self::Integer(_) => INTEGER,
        }
    }
}

impl fmt::Display for ExtensionValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_text())
    }
}

impl Serialize for ExtensionValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i32(*value),
        }
    }
}

impl From<String> for ExtensionValue<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<&String> for ExtensionValue<'_> {
    fn from(text: &String) -> Self {
        Self::Text(Cow::Owned(text.clone()))
    }
}

impl From<&str> for ExtensionValue<'_> {
    fn from(text: &str) -> Self {
        Self::Text(Cow::Owned(text.to_owned()))
    }
}

impl From<bool> for ExtensionValue<'_> {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i32> for ExtensionValue<'_> {
    fn from(value: i32) -> Self {
        Self::Integer(value)
    }
}

/// An extension as the envelope holds it.
pub(super) struct Stored<'a> {
    pub(super) kind: u8,
    pub(super) name: &'a str,
    pub(super) value: &'a str,
}

impl<'a> Stored<'a> {
    pub(super) fn typed(&self) -> ExtensionValue<'a> {
        let typed = match self.kind {
            BOOLEAN => self.value.parse().ok().map(ExtensionValue::Boolean),
            INTEGER => self.value.parse().ok().map(ExtensionValue::Integer),
            _ => None,
        };
        typed.unwrap_or(ExtensionValue::Text(Cow::Borrowed(self.value)))
    }
}

/// What an extension takes beside its name and its value.
pub(super) const HEAD_BYTES: usize = 4;

/// Adds an extension that is text.
pub(super) fn encode_text(bytes: &mut Vec<u8>, name: &str, value: &str) {
    encode(bytes, TEXT, name, value);
}

/// Adds an extension. Its name fits into a byte, its value into two.
pub(super) fn encode(bytes: &mut Vec<u8>, kind: u8, name: &str, value: &str) {
    bytes.extend_from_slice(&[name.len() as u8, kind]);
    bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(value.as_bytes());
}

/// The extensions, up to the first that is damaged.
pub(super) fn decode(mut rest: &[u8]) -> impl Iterator<Item = Stored<'_>> {
    std::iter::from_fn(move || {
        let (&[name, kind, v0, v1], after) = rest.split_first_chunk::<HEAD_BYTES>()?;
        let (name, after) = after.split_at_checked(name.into())?;
        let (value, after) = after.split_at_checked(u16::from_le_bytes([v0, v1]).into())?;
        rest = after;
        Some(Stored {
            kind,
            name: std::str::from_utf8(name).ok()?,
            value: std::str::from_utf8(value).ok()?,
        })
    })
}
