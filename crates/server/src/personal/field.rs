//! A field that is personal: where it is in an event.

use std::str::FromStr;

/// The longest pointer, in parts.
const PARTS_MAX: usize = 32;
/// Attributes that every event needs to be found, ordered and answered by.
const NEEDED: [&str; 14] = [
    "specversion",
    "id",
    "source",
    "type",
    "topic",
    "subject",
    "partitionkey",
    "time",
    "data",
    "dataschema",
    "dataversion",
    "datacontenttype",
    "correlationid",
    "causationid",
];

/// A field of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field(Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// The parts of a JSON pointer into the payload.
    Payload(Vec<String>),
    /// The name of an extension attribute.
    Extension(String),
}

impl Field {
    pub(super) fn pointer(&self) -> Option<&[String]> {
        match &self.0 {
            Place::Payload(parts) => Some(parts),
            Place::Extension(_) => None,
        }
    }

    pub(super) fn extension(&self) -> Option<&str> {
        match &self.0 {
            Place::Payload(_) => None,
            Place::Extension(name) => Some(name),
        }
    }
}

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected a JSON pointer such as `/address/street`, or the name of an extension \
                        attribute";
        let shown: String = text.chars().take(80).collect();
        if let Some(pointer) = text.strip_prefix('/') {
            let parts = pointer.split('/');
            let parts: Option<Vec<String>> = parts.map(unescaped).collect();
            return match parts {
                Some(parts) if parts.len() <= PARTS_MAX => Ok(Self(Place::Payload(parts))),
                _ => Err(format!(
                    "is not a JSON pointer of up to {PARTS_MAX} parts: `{shown}`; {expected}"
                )),
            };
        }
        if NEEDED.contains(&text) {
            return Err(format!(
                "every event needs to be found by, `{shown}`: leave personal data out of it; {expected}"
            ));
        }
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if text.is_empty() || !text.bytes().all(is_plain) {
            return Err(format!("is neither of both: `{shown}`; {expected}"));
        }
        Ok(Self(Place::Extension(text.to_owned())))
    }
}

/// A part of a JSON pointer (RFC 6901).
fn unescaped(part: &str) -> Option<String> {
    let mut text = String::with_capacity(part.len());
    let mut rest = part.chars();
    while let Some(next) = rest.next() {
        text.push(match next {
            '~' => match rest.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_pointer_or_an_extension_attribute() {
        let field = |text: &str| text.parse::<Field>();
        let parts = field("/a~1b/~0c/*/").unwrap();
        assert_eq!(parts.pointer().unwrap(), ["a/b", "~c", "*", ""]);
        assert_eq!(field("mail").unwrap().extension(), Some("mail"));
        let deep = "/a".repeat(PARTS_MAX + 1);
        for bad in ["", "email/", "Mail", "~", "/~2", "/~", &deep] {
            assert!(field(bad).is_err(), "{bad}");
        }
        for needed in NEEDED {
            assert!(
                field(needed)
                    .unwrap_err()
                    .contains("leave personal data out")
            );
        }
    }
}
