//! The events of a batch, not read yet.

use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The items of a JSON array, `None` when there are more than `events_max`. Those beyond are not
/// kept: two bytes of a body would cost sixteen of memory each.
pub(super) fn split(bytes: &[u8], events_max: usize) -> serde_json::Result<Option<Vec<&RawValue>>> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let events = reader.deserialize_seq(Items { events_max })?;
    reader.end()?;
    Ok(events)
}

struct Items {
    events_max: usize,
}

impl<'de> Visitor<'de> for Items {
    type Value = Option<Vec<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut events = Vec::new();
        while let Some(event) = items.next_element::<&'de RawValue>()? {
            if events.len() == self.events_max {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            events.push(event);
        }
        Ok(Some(events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_kept_byte_by_byte_up_to_the_limit() {
        let whole = split(b" [ {\"a\":1.10} , 2 ] ", 2).unwrap().unwrap();
        let texts: Vec<_> = whole.iter().map(|event| event.get()).collect();
        assert_eq!(texts, ["{\"a\":1.10}", "2"]);
        assert!(split(b"[]", 0).unwrap().unwrap().is_empty());
        assert!(split(b"[1,2,3]", 2).unwrap().is_none());
    }

    #[test]
    fn what_is_no_array_is_an_error_also_beyond_the_limit() {
        for text in [
            "",
            "{}",
            "1",
            "[1",
            "[1,]",
            "[1] 2",
            "[1,2,3",
            "[1,2,3] 4",
            "[1,2,x]",
        ] {
            assert!(split(text.as_bytes(), 2).is_err(), "{text}");
        }
    }
}
