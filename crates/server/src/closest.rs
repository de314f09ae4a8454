//! The name that was probably meant.

/// From where on two names are taken for one that was misspelled (Jaro–Winkler, at most 1).
const SIMILARITY_MIN: f64 = 0.8;

/// The name among `known` that is most like `name`, if one is like it.
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_name_is_found_and_another_is_not() {
        let known = ["topic", "timer", "expect"];
        assert_eq!(closest("topics", known), Some("topic"));
        assert_eq!(closest("expected", known), Some("expect"));
        assert_eq!(closest("colour", known), None);
    }
}
