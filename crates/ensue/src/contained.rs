//! Users' code where a panic would take others with it: contained.
//!
//! A handler's panic is its attempt's failure. So is that of anything else of a user's that runs on
//! Ensue's tasks: the text of an error, its sources, letting go of either or of a future.

use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::ops::ControlFlow;

pub use ensue_core::contained::message_of;
pub(crate) use ensue_core::contained::{Contained, contained};

/// How many causes of an error are told: one whose source is itself has no end.
const CAUSES_MAX: usize = 32;

/// Looks at the error, then at its causes, until `look` breaks off. A cause is asked for only when
/// it is looked at: one that panics then has been looked at itself.
fn look_at_causes(
    error: &(dyn StdError + 'static),
    mut look: impl FnMut(&(dyn StdError + 'static)) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut cause = Some(error);
    for _ in 0..CAUSES_MAX {
        let Some(error) = cause else {
            break;
        };
        look(error)?;
        cause = error.source();
    }
    ControlFlow::Continue(())
}

/// Whether the error or one of its causes is what `is` looks for, as far as they can be asked.
pub(crate) fn has_cause(
    error: &(dyn StdError + 'static),
    is: impl Fn(&(dyn StdError + 'static)) -> bool,
) -> bool {
    let look = |cause: &(dyn StdError + 'static)| match is(cause) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    contained(|| look_at_causes(error, look).is_break()).unwrap_or_default()
}

/// The text of an error and of those of its causes that are `shown`, joined by `: `; cut at
/// `bytes_max` bytes.
pub(crate) fn describe(
    error: &(dyn StdError + 'static),
    shown: impl Fn(&(dyn StdError + 'static)) -> bool,
    bytes_max: usize,
) -> String {
    let mut text = Bounded::new(bytes_max);
    let mut separator = "";
    let outcome = contained(|| {
        look_at_causes(error, |error| {
            if !shown(error) {
                return ControlFlow::Continue(());
            }
            let before = text.text.len();
            text.add(std::mem::replace(&mut separator, ": "));
            let begin = text.text.len();
            if write!(text, "{error}").is_err() && !text.is_cut {
                text.add("(this error cannot be printed)");
            }
            // Many errors print their cause themselves.
            if let Some((earlier, cause)) = text.text.split_at_checked(begin)
                && earlier.get(..before).is_some_and(|it| it.ends_with(cause))
            {
                text.text.truncate(before);
            }
            match text.is_cut {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
    });
    if let Err(message) = outcome {
        text.add("(printing the error panicked: ");
        text.add(&message);
        text.add(")");
    }
    if text.text.is_empty() {
        text.add("(an error without a text)");
    }
    text.text
}

/// `text`, cut at `bytes_max` bytes.
pub(crate) fn shorten(text: &str, bytes_max: usize) -> String {
    let mut bounded = Bounded::new(bytes_max);
    bounded.add(text);
    bounded.text
}

/// A text that takes so many bytes and refuses the rest, so that the writer stops early.
struct Bounded {
    text: String,
    bytes_max: usize,
    is_cut: bool,
}

impl Bounded {
    fn new(bytes_max: usize) -> Self {
        Self {
            text: String::new(),
            bytes_max,
            is_cut: false,
        }
    }

    fn add(&mut self, more: &str) {
        // Refused only when the text is cut, which it then says.
        let _ = self.write_str(more);
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.is_cut {
            return Err(fmt::Error);
        }
        let room = self.bytes_max.saturating_sub(self.text.len());
        if more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        let cut = (0..=room).rev().find(|at| more.is_char_boundary(*at));
        self.text
            .push_str(more.get(..cut.unwrap_or_default()).unwrap_or_default());
        self.text.push('…');
        self.is_cut = true;
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let long = shorten(&"ü".repeat(100), 15);
        assert_eq!(long, format!("{}…", "ü".repeat(7)));
        assert_eq!(shorten("short", 5), "short");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{what}: {cause}")]
    struct PrintsItsCause {
        what: &'static str,
        #[source]
        cause: std::io::Error,
    }

    #[test]
    fn a_cause_that_an_error_prints_itself_is_told_once() {
        let cause = std::io::ErrorKind::NotFound.into();
        let error = PrintsItsCause {
            what: "cannot read the list",
            cause,
        };
        let text = describe(&error, |_| true, 100);
        assert_eq!(text, "cannot read the list: entity not found");
        // Cut at the limit, as ever.
        assert_eq!(describe(&error, |_| true, 10), "cannot rea…");
    }
}
