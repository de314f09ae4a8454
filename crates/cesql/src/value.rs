//! The values of the language and their types (specification 3.1).

use std::borrow::Cow;
use std::fmt;

/// What an attribute is, and what an expression evaluates to.
///
/// URIs, URI references and timestamps are text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value<'a> {
    /// A _String_: Unicode characters.
    Text(Cow<'a, str>),
    /// An _Integer_ of 32 bits.
    Integer(i32),
    /// A _Boolean_.
    Boolean(bool),
}

/// The type of a [`Value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// _String_.
    Text,
    /// _Integer_.
    Integer,
    /// _Boolean_.
    Boolean,
}

impl Value<'_> {
    /// The type of the value.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Text(_) => Type::Text,
            Self::Integer(_) => Type::Integer,
            Self::Boolean(_) => Type::Boolean,
        }
    }

    /// The same value without a copy of its text.
    pub fn borrowed(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Integer(number) => Value::Integer(*number),
            Self::Boolean(truth) => Value::Boolean(*truth),
        }
    }

    /// The same value with a text of its own.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Integer(number) => Value::Integer(number),
            Self::Boolean(truth) => Value::Boolean(truth),
        }
    }
}

impl Type {
    /// What an operation of this type returns when it has nothing better to return.
    pub fn zero(self) -> Value<'static> {
        match self {
            Self::Text => Value::Text(Cow::Borrowed("")),
            Self::Integer => Value::Integer(0),
            Self::Boolean => Value::Boolean(false),
        }
    }
}

/// The value as the language casts it to text, without quotes.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(truth) => write!(f, "{truth}"),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a string",
            Self::Integer => "an integer",
            Self::Boolean => "a boolean",
        })
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'a> From<Cow<'a, str>> for Value<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::Text(text)
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}
