//! The patterns of `LIKE` (specification 3.4.3).
//!
//! `%` divides a pattern into segments. The first has to begin the text and the last to end it; of
//! each one between, the leftmost place after the one before is right if any is. So nothing is tried
//! twice, and a text is looked through once.

use std::collections::BTreeMap;

/// A pattern, ready to be matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    source: String,
    shape: Shape,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    /// Without `%`.
    Whole(Segment),
    /// With `%` between the segments.
    Parts {
        first: Segment,
        between: Vec<Needle>,
        last: Segment,
    },
}

/// A part of a pattern without `%`; `None` stands for any character.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Segment(Vec<Option<char>>);

/// A segment to be searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Needle {
    /// Without `_`.
    Literal(String),
    /// With `_`.
    Wild(Automaton),
}

impl Pattern {
    pub(crate) fn new(source: &str) -> Self {
        let mut segments = segments(source);
        let last = segments.pop().unwrap_or_default();
        let shape = if segments.is_empty() {
            Shape::Whole(last)
        } else {
            let first = segments.remove(0);
            // `%%` is `%`.
            let between = segments.into_iter().filter(|it| !it.0.is_empty());
            Shape::Parts {
                first,
                between: between.map(Needle::new).collect(),
                last,
            }
        };
        Self {
            source: source.to_owned(),
            shape,
        }
    }

    /// The pattern as it was given to [`Pattern::new`].
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match &self.shape {
            Shape::Whole(segment) => segment.after(text).is_some_and(str::is_empty),
            Shape::Parts {
                first,
                between,
                last,
            } => first
                .after(text)
                .and_then(|rest| last.before(rest))
                .and_then(|rest| between.iter().try_fold(rest, |rest, it| it.after(rest)))
                .is_some(),
        }
    }
}

/// What `%` divides; at least one segment.
fn segments(source: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut segment = Segment::default();
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '%' => segments.push(std::mem::take(&mut segment)),
            '_' => segment.0.push(None),
            // Before anything else, a backslash stands for itself.
            '\\' => {
                let escaped = chars.next_if(|next| matches!(next, '%' | '_'));
                segment.0.push(Some(escaped.unwrap_or(c)));
            }
            _ => segment.0.push(Some(c)),
        }
    }
    segments.push(segment);
    segments
}

fn fits(expected: &Option<char>, found: char) -> bool {
    expected.is_none_or(|expected| expected == found)
}

impl Segment {
    /// What follows the segment at the beginning of the text, if it is there.
    fn after<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut chars = text.chars();
        let all = self
            .0
            .iter()
            .all(|c| chars.next().is_some_and(|found| fits(c, found)));
        all.then_some(chars.as_str())
    }

    /// What precedes the segment at the end of the text, if it is there.
    fn before<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut chars = text.chars();
        let mut backwards = self.0.iter().rev();
        let all = backwards.all(|c| chars.next_back().is_some_and(|found| fits(c, found)));
        all.then_some(chars.as_str())
    }
}

impl Needle {
    fn new(segment: Segment) -> Self {
        match segment.0.iter().copied().collect() {
            Some(literal) => Self::Literal(literal),
            None => Self::Wild(Automaton::new(&segment)),
        }
    }

    /// What follows the leftmost occurrence in the text, if there is one.
    fn after<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(literal) => text.split_once(literal.as_str()).map(|(_, after)| after),
            Self::Wild(automaton) => automaton.after(text),
        }
    }
}

/// Finds a segment with `_` by the algorithm "shift-and": bit `i` of the state says that the last
/// `i + 1` characters fit the first `i + 1` of the segment. All bits take a step at once, 64 in a word.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Automaton {
    /// Which places a character fits.
    fits: BTreeMap<char, Vec<u64>>,
    /// Which places any other character fits.
    fits_any: Vec<u64>,
    /// The bit of the last place, in the last word.
    last: u64,
}

impl Automaton {
    fn new(segment: &Segment) -> Self {
        let mut fits_any = vec![0; segment.0.len().div_ceil(64)];
        let set = |bits: &mut Vec<u64>, place: usize| {
            if let Some(word) = bits.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
        };
        let places = || segment.0.iter().enumerate();
        for (place, _) in places().filter(|(_, c)| c.is_none()) {
            set(&mut fits_any, place);
        }
        let mut fits = BTreeMap::new();
        for (place, c) in places().filter_map(|(place, c)| Some((place, (*c)?))) {
            set(fits.entry(c).or_insert_with(|| fits_any.clone()), place);
        }
        Self {
            fits,
            fits_any,
            last: 1 << (segment.0.len().saturating_sub(1) % 64),
        }
    }

    fn after<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut state = vec![0_u64; self.fits_any.len()];
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let fits = self.fits.get(&c).unwrap_or(&self.fits_any);
            // The segment may begin at every character.
            let mut carry = 1;
            for (word, fits) in state.iter_mut().zip(fits) {
                let moved = *word << 1 | carry;
                carry = *word >> 63;
                *word = moved & fits;
            }
            if state.last().is_some_and(|word| word & self.last != 0) {
                return Some(chars.as_str());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(text: &str, pattern: &str) -> bool {
        Pattern::new(pattern).matches(text)
    }

    #[test]
    fn percent_stands_for_any_number_of_characters() {
        for text in ["", "a", "abc", "%", "ä€😀"] {
            assert!(matches(text, "%"), "{text}");
            assert!(matches(text, "%%"), "{text}");
        }
        assert!(matches("abcabd", "%ab%d"));
        assert!(matches("abab", "%ab"));
        assert!(!matches("aba", "%ab"));
        // The first and the last part may not share a character.
        assert!(!matches("aba", "ab%ba"));
        assert!(matches("abba", "ab%ba"));
    }

    #[test]
    fn underscore_stands_for_one_code_point() {
        for text in ["a", "ä", "€", "😀", "_"] {
            assert!(matches(text, "_"), "{text}");
            assert!(!matches(text, "__"), "{text}");
        }
        assert!(!matches("", "_"));
        assert!(matches("ab", "_b"));
        assert!(!matches("b", "_b"));
        // An "a" with a combining diaeresis is two.
        assert!(matches("a\u{308}", "__"));
    }

    #[test]
    fn a_backslash_escapes_wildcards_and_nothing_else() {
        assert!(matches("abc%", r"abc\%"));
        assert!(!matches("abcd", r"abc\%"));
        assert!(matches("_", r"\_") && !matches("a", r"\_"));
        assert!(matches(r"ab\c", r"ab\c"));
        assert!(matches(r"\", r"\"));
        assert!(matches(r"\\", r"\\"));
        assert!(matches(r"\%", r"\\%") && !matches(r"\a", r"\\%"));
    }

    #[test]
    fn case_and_characters_of_other_languages_stand_for_themselves() {
        assert!(!matches("aBc", "_b%"));
        for text in ["a.c", "a*c", "a?c", "a[c", "a^c", "a$c", "a(c"] {
            assert!(matches(text, text));
            assert!(!matches("abc", text));
        }
    }

    #[test]
    fn a_segment_longer_than_a_word_is_found() {
        let long = format!("{}_{}", "x".repeat(100), "y".repeat(100));
        let text = format!("{}z{}", "x".repeat(300), "y".repeat(100));
        assert!(matches(&format!("{text}end"), &format!("%{long}%")));
        let short = text.get(..text.len() - 1).unwrap_or_default();
        assert!(!matches(short, &format!("%{long}%")));
    }

    #[test]
    fn a_hard_pattern_takes_no_longer_than_an_easy_one() {
        // Trying every way takes longer than there is time; trying every place, minutes.
        let text = "a".repeat(1 << 16);
        let pattern = format!("%{}b%", "a_".repeat(2_000));
        assert!(!matches(&text, &pattern));
        assert!(!matches(
            &text,
            &"%a_".repeat(2_000).replace("%a_%a_", "%a_b%a_")
        ));
    }

    /// What the specification says, without regard to the time that it takes.
    fn slowly(text: &[char], pattern: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['%', rest @ ..] => (0..=text.len()).any(|at| slowly(&text[at..], rest)),
            ['\\', c @ ('%' | '_'), rest @ ..] => {
                text.first() == Some(c) && slowly(&text[1..], rest)
            }
            ['_', rest @ ..] => !text.is_empty() && slowly(&text[1..], rest),
            [c, rest @ ..] => text.first() == Some(c) && slowly(&text[1..], rest),
        }
    }

    proptest! {
        #[test]
        fn matches_what_trying_every_way_matches(
            text in r"[ab€%_\\]{0,12}",
            pattern in r"[ab€%%__\\]{0,8}",
        ) {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(
                matches(&text, &pattern),
                slowly(&chars(&text), &chars(&pattern)),
                "{:?} LIKE {:?}", text, pattern
            );
        }
    }
}
