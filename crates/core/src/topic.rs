//! Topic names and the patterns that select them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest topic name or pattern, in bytes.
pub const TOPIC_BYTES_MAX: usize = 200;

/// A text that is not a topic name or a topic pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a topic {what}: {reason}; a topic is one or more parts of letters, digits, \
     `-` and `_`, joined by dots, at most {TOPIC_BYTES_MAX} bytes, such as `orders` or \
     `sensors.hall.3`"
)]
pub struct InvalidTopic {
    text: String,
    what: &'static str,
    reason: String,
}

/// Checks that `name` may name a topic: parts of `A-Z a-z 0-9 - _`, joined by dots.
///
/// Names that start with `_` belong to Ensue itself (replies, for instance): they are valid names
/// but no publisher may append to them, and no pattern matches them unless it spells the `_`.
///
/// # Errors
/// [`InvalidTopic`] says which rule was broken.
#[doc(hidden)]
pub fn validate(name: &str) -> Result<(), InvalidTopic> {
    check(name, "name", |part| part.bytes().all(is_name_byte))
}

/// What the topics begin with to which replies to requests go.
#[doc(hidden)]
pub const REPLIES: &str = "_reply.";

/// What the topics begin with that hold snapshots of aggregates.
#[doc(hidden)]
pub const SNAPSHOTS: &str = "_snapshot.";

/// Whether a topic belongs to Ensue itself.
#[doc(hidden)]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with('_')
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn check(
    text: &str,
    what: &'static str,
    part_is_valid: impl Fn(&str) -> bool,
) -> Result<(), InvalidTopic> {
    let invalid = |reason: String| InvalidTopic {
        text: shorten(text),
        what,
        reason,
    };
    if text.is_empty() {
        return Err(invalid("it is empty".into()));
    }
    if text.len() > TOPIC_BYTES_MAX {
        return Err(invalid(format!("it has {} bytes", text.len())));
    }
    match text
        .split('.')
        .find(|part| part.is_empty() || !part_is_valid(part))
    {
        None => Ok(()),
        Some("") => Err(invalid("it has an empty part".into())),
        Some(part) => Err(invalid(format!(
            "the part `{part}` contains an invalid character"
        ))),
    }
}

fn shorten(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or(text)),
    }
}

/// Selects topics: `*` stands for exactly one part, a final `>` for one or more.
///
/// ```
/// use ensue::TopicPattern;
///
/// let halls: TopicPattern = "sensors.*.temperature".parse()?;
/// assert!(halls.matches("sensors.hall-3.temperature"));
/// assert!(!halls.matches("sensors.hall-3.humidity"));
///
/// let all: TopicPattern = "sensors.>".parse()?;
/// assert!(all.matches("sensors.hall-3.temperature"));
/// assert!(!all.matches("sensors"));
/// # Ok::<(), ensue::InvalidTopic>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicPattern(String);

impl TopicPattern {
    /// The pattern that matches every topic of the users' (not those that start with `_`).
    pub fn all() -> Self {
        Self(">".to_owned())
    }

    /// A pattern that a macro has checked already. One that was not checked matches at most what it
    /// spells, and an app refuses to start with it.
    #[doc(hidden)]
    pub fn trusted(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern names exactly one topic.
    pub fn is_literal(&self) -> bool {
        !self.0.split('.').any(|part| part == "*" || part == ">")
    }

    /// Whether `topic` is selected. A reserved topic is selected only by a pattern that spells its
    /// first part.
    pub fn matches(&self, topic: &str) -> bool {
        let mut wanted = self.0.split('.');
        let mut parts = topic.split('.');
        if is_reserved(topic) && !self.0.starts_with('_') {
            return false;
        }
        loop {
            match (wanted.next(), parts.next()) {
                (None, None) => return true,
                (Some(">"), Some(_)) => return true,
                (Some("*"), Some(_)) => {}
                (Some(want), Some(part)) if want == part => {}
                _ => return false,
            }
        }
    }

    /// Whether some topic is selected by both patterns.
    pub fn overlaps(&self, other: &Self) -> bool {
        let mut left = self.0.split('.');
        let mut right = other.0.split('.');
        loop {
            match (left.next(), right.next()) {
                (None, None) => return true,
                (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
                (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
                _ => return false,
            }
        }
    }

    /// Whether every topic that `other` selects is selected, too.
    pub fn covers(&self, other: &Self) -> bool {
        if is_reserved(&other.0) && !is_reserved(&self.0) {
            return false;
        }
        let mut wide = self.0.split('.');
        let mut narrow = other.0.split('.');
        loop {
            match (wide.next(), narrow.next()) {
                (None, None) | (Some(">"), Some(_)) => return true,
                (Some("*"), Some(part)) if part != ">" => {}
                (Some(want), Some(part)) if want == part => {}
                _ => return false,
            }
        }
    }
}

impl FromStr for TopicPattern {
    type Err = InvalidTopic;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check(text, "pattern", |part| {
            matches!(part, "*" | ">") || part.bytes().all(is_name_byte)
        })?;
        if let Some(rest) = text.find('>')
            && rest + 1 != text.len()
        {
            return Err(InvalidTopic {
                text: shorten(text),
                what: "pattern",
                reason: "`>` may only be the last part".into(),
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TopicPattern {
    type Error = InvalidTopic;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TopicPattern> for String {
    fn from(pattern: TopicPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TopicPattern {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_dotted_parts() {
        for good in ["orders", "sensors.hall-3.T_1", "_reply.x"] {
            validate(good).unwrap();
        }
        for bad in [
            "",
            ".",
            "a..b",
            "a b",
            "über",
            "a.*",
            "a.>",
            &"x".repeat(201),
        ] {
            assert!(validate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_select_by_parts() {
        assert!(pattern("orders").matches("orders"));
        assert!(!pattern("orders").matches("orders.eu"));
        assert!(pattern("orders.*").matches("orders.eu"));
        assert!(!pattern("orders.*").matches("orders.eu.de"));
        assert!(pattern("orders.>").matches("orders.eu.de"));
        assert!(pattern(">").matches("anything"));
        assert!("a.>.b".parse::<TopicPattern>().is_err());
        assert!("a>".parse::<TopicPattern>().is_err());
    }

    #[test]
    fn reserved_topics_are_matched_only_when_spelled() {
        assert!(!pattern(">").matches("_reply.1"));
        assert!(!pattern("*.1").matches("_reply.1"));
        assert!(pattern("_reply.*").matches("_reply.1"));
    }

    #[test]
    fn a_pattern_covers_those_that_select_nothing_else() {
        for (wide, narrow) in [
            (">", ">"),
            (">", "*"),
            (">", "a.*.b"),
            ("*", "a"),
            ("a.>", "a.b.>"),
            ("a.>", "a.*"),
            ("a.*.c", "a.b.c"),
            ("_audit", "_audit"),
            ("_reply.>", "_reply.*"),
        ] {
            assert!(pattern(wide).covers(&pattern(narrow)), "{wide} {narrow}");
        }
        for (wide, narrow) in [
            ("*", ">"),
            ("a", "*"),
            ("a.*", "a.>"),
            ("a.>", "a"),
            ("a.b", "a"),
            ("a", "a.b"),
            ("a.*", "*.a"),
            (">", "_audit"),
            ("*", "_audit"),
            ("_reply.>", ">"),
        ] {
            assert!(!pattern(wide).covers(&pattern(narrow)), "{wide} {narrow}");
        }
    }

    #[test]
    fn overlap_means_a_common_topic() {
        assert!(pattern("a.*").overlaps(&pattern("*.b")));
        assert!(pattern("a.>").overlaps(&pattern("a.b.c")));
        assert!(!pattern("a.>").overlaps(&pattern("a")));
        assert!(!pattern("a.*").overlaps(&pattern("a.b.c")));
    }
}
