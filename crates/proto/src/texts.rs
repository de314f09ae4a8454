//! Texts of an error that are part of a program, when they come from another one.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The most texts that are kept, and the longest: a server has a few dozen.
const TEXTS_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 512;
/// What stands for others.
const OTHER: &str = "what the server said";

static TEXTS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// `text`, for as long as the program runs. There are few, which all errors share.
pub(crate) fn kept(text: &str) -> &'static str {
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    keep(&mut texts, text)
}

fn keep(texts: &mut BTreeSet<&'static str>, text: &str) -> &'static str {
    if let Some(kept) = texts.get(text) {
        return kept;
    }
    if texts.len() >= TEXTS_MAX || text.len() > TEXT_BYTES_MAX {
        return OTHER;
    }
    let kept: &'static str = Box::leak(text.into());
    texts.insert(kept);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_not_without_limit() {
        let one = kept("APPEND_EVENTS_MAX");
        assert!(std::ptr::eq(one, kept("APPEND_EVENTS_MAX")));
        let mut texts = BTreeSet::new();
        assert_eq!(keep(&mut texts, &"x".repeat(TEXT_BYTES_MAX + 1)), OTHER);
        for number in 0..2 * TEXTS_MAX {
            keep(&mut texts, &number.to_string());
        }
        assert_eq!(keep(&mut texts, "one too many"), OTHER);
        assert_eq!(texts.len(), TEXTS_MAX);
    }
}
