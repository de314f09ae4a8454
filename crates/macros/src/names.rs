//! The types of events, the names of topics and services.
//!
//! The framework checks all of them again at run time; here they are checked early, where the
//! error can point at the source.

/// `ensue::TOPIC_BYTES_MAX`: a proc-macro crate cannot see it. `tests/macros.rs` holds them equal.
const TOPIC_BYTES_MAX: usize = 200;
/// `ensue::ATTRIBUTE_BYTES_MAX`, likewise.
const NAME_BYTES_MAX: usize = 255;
/// The longest name of a service, an aggregate or a cell of state. Brokers put the former into names of their own, which have limits too.
const WORD_BYTES_MAX: usize = 100;

/// What is wrong with the type of an event.
pub(crate) fn check_event(name: &str) -> Result<(), String> {
    let is_part = |part: &str| part.bytes().all(is_lower_case);
    check_parts(name, NAME_BYTES_MAX, is_part).map_err(|reason| {
        format!(
            "`{name}` cannot be the type of an event: {reason}; a type is parts of a-z, 0-9, `-` and `_`, \
             joined by dots, at most {NAME_BYTES_MAX} bytes"
        )
    })
}

/// What is wrong with the name of a service.
pub(crate) fn check_service(name: &str) -> Result<(), String> {
    check_word(name, "a service")
}

/// What is wrong with the name of a cell of state.
pub(crate) fn check_state(name: &str) -> Result<(), String> {
    check_word(name, "a cell of state")
}

/// What is wrong with the name of an aggregate.
pub(crate) fn check_aggregate(name: &str) -> Result<(), String> {
    check_word(name, "an aggregate")
}

/// What is wrong with a name that is one word.
fn check_word(name: &str, what: &str) -> Result<(), String> {
    let reason = if name.is_empty() {
        "it is empty".to_owned()
    } else if name.len() > WORD_BYTES_MAX {
        format!("it has {} bytes", name.len())
    } else if let Some(letter) = name
        .chars()
        .find(|c| !u8::try_from(*c).is_ok_and(is_lower_case))
    {
        format!("it has a `{letter}`")
    } else {
        return Ok(());
    };
    Err(format!(
        "`{name}` cannot name {what}: {reason}; a name is made of a-z, 0-9, `-` and `_`, at most \
         {WORD_BYTES_MAX} bytes"
    ))
}

/// What is wrong with a topic, or with the pattern of a template, where `*` is one part.
pub(crate) fn check_topic(topic: &str) -> Result<(), String> {
    if topic.starts_with('_') {
        return Err(format!(
            "the topic `{topic}` is reserved: names that start with `_` belong to Ensue; pick \
             another"
        ));
    }
    let is_part = |part: &str| part == "*" || part.bytes().all(is_topic_byte);
    check_parts(topic, TOPIC_BYTES_MAX, is_part).map_err(|reason| describe_topic(topic, &reason))
}

/// What is wrong with a pattern of topics.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), String> {
    let is_part = |part: &str| matches!(part, "*" | ">") || part.bytes().all(is_topic_byte);
    let ends_early = pattern.strip_suffix('>').unwrap_or(pattern).contains('>');
    let checked = if ends_early {
        Err("`>` may only be the last part".to_owned())
    } else {
        check_parts(pattern, TOPIC_BYTES_MAX, is_part)
    };
    checked.map_err(|reason| {
        format!(
            "`{pattern}` is not a pattern of topics: {reason}; a pattern is a topic in which `*` \
             stands for one part and a final `>` for the rest, at most {TOPIC_BYTES_MAX} bytes"
        )
    })
}

/// The error for a topic that is wrong for `reason`.
pub(crate) fn describe_topic(topic: &str, reason: &str) -> String {
    format!(
        "`{topic}` is not a topic: {reason}; a topic is parts of letters, digits, `-` and `_`, \
         joined by dots, at most {TOPIC_BYTES_MAX} bytes, and a part may be a `{{field}}`"
    )
}

/// `OrderNotifications` as `order-notifications`, `HTTPGateway` as `http-gateway`.
pub(crate) fn kebab_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut kebab = String::with_capacity(name.len() + 4);
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| letters.get(at));
        let after = letters.get(at + 1);
        let starts_word = letter.is_uppercase()
            && before.is_some_and(|before| {
                *before != '_'
                    && (!before.is_uppercase() || after.is_some_and(|c| c.is_lowercase()))
            });
        if starts_word {
            kebab.push('-');
        }
        match letter {
            '_' => kebab.push('-'),
            letter => kebab.extend(letter.to_lowercase()),
        }
    }
    kebab
}

fn check_parts(name: &str, bytes_max: usize, is_part: impl Fn(&str) -> bool) -> Result<(), String> {
    if name.is_empty() {
        return Err("it is empty".into());
    }
    if name.len() > bytes_max {
        return Err(format!("it has {} bytes", name.len()));
    }
    match name
        .split('.')
        .find(|part| part.is_empty() || !is_part(part))
    {
        None => Ok(()),
        Some("") => Err("it has an empty part".into()),
        Some(part) => Err(format!("the part `{part}` contains an invalid character")),
    }
}

fn is_topic_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn is_lower_case(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types_become_names_of_services() {
        for (name, kebab) in [
            ("Payments", "payments"),
            ("OrderNotifications", "order-notifications"),
            ("HTTPGateway", "http-gateway"),
            ("S3Sink", "s3-sink"),
            ("Snake_Case", "snake-case"),
            ("A", "a"),
        ] {
            assert_eq!(kebab_case(name), kebab);
            check_service(&kebab_case(name)).unwrap();
        }
        assert!(check_service("").is_err());
        assert!(check_service("Payments").is_err());
        assert!(check_service("größe").is_err());
    }

    #[test]
    fn types_of_events_are_dotted_and_lower_case() {
        check_event("order.line-item_added.2").unwrap();
        for bad in ["", "Order.created", "order..created", "order created", ".a"] {
            assert!(check_event(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn topics_and_patterns_follow_the_rules_of_the_framework() {
        check_topic("sensors.*.T_1").unwrap();
        check_topic(&"x".repeat(TOPIC_BYTES_MAX)).unwrap();
        for bad in ["", "a..b", "a b", "über", "_reply.x", "a.>"] {
            assert!(check_topic(bad).is_err(), "{bad}");
        }
        assert!(check_topic(&"x".repeat(TOPIC_BYTES_MAX + 1)).is_err());
        for good in [">", "orders.>", "*.b", "a"] {
            check_pattern(good).unwrap();
        }
        for bad in ["", "a.>.b", "a>", "a.**", "a."] {
            assert!(check_pattern(bad).is_err(), "{bad}");
        }
    }
}
