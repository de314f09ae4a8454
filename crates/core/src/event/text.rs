//! What CloudEvents allows in the texts of attributes: no control characters.

use super::InvalidEvent;

/// The first control character of a text: U+0000 to U+001F, and U+007F to U+009F.
#[doc(hidden)]
pub fn control_in(text: &str) -> Option<char> {
    // Almost no text has a byte that begins one.
    let may_begin = |byte: u8| byte < 0x20 || byte == 0x7f || byte == 0xc2;
    if !text.bytes().any(may_begin) {
        return None;
    }
    text.chars().find(|c| c.is_control())
}

/// Refuses the text of an attribute with a control character in it.
pub(super) fn check(name: &str, text: &str) -> Result<(), InvalidEvent> {
    match control_in(text) {
        None => Ok(()),
        Some(found) => Err(InvalidEvent::Attribute {
            name: name.to_owned(),
            problem: format!(
                "contains U+{:04X}: CloudEvents allows no control characters in attributes; leave it \
                 out, or encode it",
                u32::from(found)
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Envelope;

    #[test]
    fn every_attribute_of_an_event_is_without_control_characters() {
        let good = || Envelope::builder("orders", "order.created").id("1");
        for bad in [
            "a\0",
            "\n",
            "a\r\nb",
            "\x1b[31mred",
            "\u{7f}",
            "a\u{85}",
            "\u{9f}",
        ] {
            for (name, builder) in [
                ("id", good().id(bad)),
                ("key", good().key(bad)),
                ("key", good().partition_key(bad)),
                ("type", Envelope::builder("orders", bad.to_owned())),
                ("content type", good().opaque_payload(bad, vec![])),
                ("correlation", good().correlation(bad)),
                ("causation", good().causation(bad)),
                ("tenant", good().extension("tenant", bad)),
                ("source", good().source(bad)),
            ] {
                let error = builder.build().unwrap_err();
                let is_it =
                    matches!(&error, InvalidEvent::Attribute { name: it, .. } if it == name);
                assert!(is_it, "{name} {bad:?}: {error:?}");
            }
        }
        for good_text in ["größe ✓", "a b", "\u{a0}", "Â", "\u{202e}"] {
            assert!(good().id(good_text).key(good_text).build().is_ok());
        }
        // What is stored already stays readable.
        assert!(good().key("a\0").as_stored().build().is_ok());
    }

    proptest! {
        #[test]
        fn what_is_found_first_is_the_first_control_character(text in any::<String>()) {
            prop_assert_eq!(control_in(&text), text.chars().find(|c| c.is_control()));
        }
    }
}
