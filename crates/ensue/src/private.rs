//! What the code of the macros calls. Not for people: it may change in any release.

use std::borrow::Cow;
use std::fmt::Display;
use std::marker::PhantomData;

use crate::event::Event;
use crate::topic::TopicPattern;

pub use crate::contained::message_of;
pub use crate::event::{PersonalField, PersonalValue};

/// A field that becomes (a part of) a key or a topic.
///
/// `(&&&Text(&field)).text()` picks, by the number of references that method lookup has to take
/// away, the first of [`Borrowed`], [`Displayed`] and [`Neither`] that the field's type allows.
pub struct Text<'a, T: ?Sized>(pub &'a T);

/// The field is a text: no copy.
pub trait Borrowed<'a> {
    /// The field's text.
    fn text(&self) -> Cow<'a, str>;
}

impl<'a, T: AsRef<str> + ?Sized> Borrowed<'a> for &&Text<'a, T> {
    fn text(&self) -> Cow<'a, str> {
        Cow::Borrowed(self.0.as_ref())
    }
}

/// The field can be written as a text.
pub trait Displayed<'a> {
    /// The field's text.
    fn text(&self) -> Cow<'a, str>;
}

impl<'a, T: Display + ?Sized> Displayed<'a> for &Text<'a, T> {
    fn text(&self) -> Cow<'a, str> {
        Cow::Owned(self.0.to_string())
    }
}

/// The field has no text: using it is an error that says what to do.
pub trait Neither<'a> {
    /// The field's type.
    type Field: ?Sized;

    /// Nothing.
    fn text(&self) -> Cow<'a, str>
    where
        Self::Field: IntoText;
}

impl<'a, T: ?Sized> Neither<'a> for Text<'a, T> {
    type Field = T;

    fn text(&self) -> Cow<'a, str>
    where
        T: IntoText,
    {
        Cow::Borrowed("")
    }
}

/// What a field of a key or a topic must be; implemented for nothing, only its message counts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a key or a topic: it has no text",
    label = "neither `AsRef<str>` nor `Display`",
    note = "implement `std::fmt::Display` for it, pick another field, or compute the key in a \
            function: `key_with = Self::order_key`"
)]
pub trait IntoText {}

/// A key of several fields.
pub fn join_key(parts: &[Cow<'_, str>]) -> String {
    parts.join("/")
}

/// A topic that fields fill in.
///
/// A value with a dot in it would make a topic of more parts than the pattern has, which no handler
/// would ever see, and an empty one says little: braces make publishing refuse both, and show why.
pub fn topic(parts: &[Cow<'_, str>]) -> String {
    let mut topic = String::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            topic.push('.');
        }
        if part.is_empty() || part.contains('.') {
            topic.push('{');
            topic.push_str(part);
            topic.push('}');
        } else {
            topic.push_str(part);
        }
    }
    topic
}

/// A pattern that the macro has checked.
pub fn topics(pattern: &'static str) -> TopicPattern {
    TopicPattern::trusted(pattern)
}

/// Whether two texts are equal, at compile time.
pub const fn is_same(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while let ([a, more_left @ ..], [b, more_right @ ..]) = (left, right) {
        if *a != *b {
            return false;
        }
        (left, right) = (more_left, more_right);
    }
    left.is_empty() && right.is_empty()
}

/// Whether a pattern names one topic, at compile time.
pub const fn is_one_topic(pattern: &str) -> bool {
    let mut bytes = pattern.as_bytes();
    while let [first, rest @ ..] = bytes {
        if matches!(*first, b'*' | b'>') {
            return false;
        }
        bytes = rest;
    }
    true
}

/// The type of what may be an event: the inherent constant wins over [`NoEventType`]'s.
pub struct EventType<T: ?Sized>(PhantomData<T>);

impl<T: Event> EventType<T> {
    /// The event's type.
    pub const TYPE: Option<&'static str> = Some(T::TYPE);
}

/// What is not an event has none.
pub trait NoEventType {
    /// Nothing.
    const TYPE: Option<&'static str> = None;
}

impl<T: ?Sized> NoEventType for EventType<T> {}

/// The distinct names among up to `N`.
pub struct Names<const N: usize> {
    names: [&'static str; N],
    count: usize,
}

impl<const N: usize> Names<N> {
    /// Keeps what is there.
    pub const fn new(found: [Option<&'static str>; N]) -> Self {
        let mut names = [""; N];
        let mut count = 0;
        let mut found = found.as_slice();
        while let [first, rest @ ..] = found {
            if let Some(name) = *first
                && !Self::contains(&names, name)
                && let Some((_, free)) = names.split_at_mut_checked(count)
                && let [next, ..] = free
            {
                *next = name;
                count += 1;
            }
            found = rest;
        }
        Self { names, count }
    }

    const fn contains(names: &[&str], name: &str) -> bool {
        let mut rest = names;
        while let [first, more @ ..] = rest {
            if is_same(first, name) {
                return true;
            }
            rest = more;
        }
        false
    }

    /// The names.
    pub fn as_slice(&'static self) -> &'static [&'static str] {
        self.names.get(..self.count).unwrap_or(&self.names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_not_one_part_of_a_topic_makes_one_that_is_refused() {
        let topic_of = |hall: &str| topic(&["sensors".into(), hall.into()]);
        assert_eq!(topic_of("3"), "sensors.3");
        for bad in ["", "3.a", "3 a", "*"] {
            assert!(crate::topic::validate(&topic_of(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_distinct_and_only_of_events() {
        const NAMES: Names<4> = Names::new([Some("a"), None, Some("b"), Some("a")]);
        assert_eq!(const { &NAMES }.as_slice(), ["a", "b"]);
        assert!(is_same("ab", "ab") && !is_same("ab", "a") && !is_same("ab", "ac"));
        assert!(is_one_topic("a.b") && !is_one_topic("a.*") && !is_one_topic("a.>"));
    }
}
