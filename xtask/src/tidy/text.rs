//! Rules about what stands in the sources.

use super::Breach;
use super::source::Source;

const LINES_MAX: usize = 600;

/// Where `.commit(` is spelled for good reasons: dispatch, engines, and what stands in for one.
const COMMIT_PLACES: [&str; 3] = [
    "crates/ensue/src/dispatch.rs",
    "crates/ensue/src/dispatch/",
    "crates/ensue/src/testing/chaos.rs",
];

pub(super) fn only_dispatch_commits(source: &Source) -> Vec<Breach> {
    let is_checked = source.path.starts_with("crates/ensue/src/")
        && !COMMIT_PLACES
            .iter()
            .any(|place| source.path.starts_with(place));
    let words = [".commit(", "Member::commit"];
    if is_checked {
        find(source, &source.production, &words)
    } else {
        Vec::new()
    }
}

pub(super) fn files_are_short(source: &Source) -> Vec<Breach> {
    let lines = source.code.lines().count();
    if lines > LINES_MAX {
        vec![Breach::new(&source.path, format!("{lines} lines"))]
    } else {
        Vec::new()
    }
}

pub(super) fn names_say_something(source: &Source) -> Vec<Breach> {
    let empty = [
        "utils", "util", "common", "helpers", "helper", "misc", "manager",
    ];
    let mut parts = source
        .path
        .split('/')
        .map(|part| part.trim_end_matches(".rs"));
    match parts.find(|part| empty.contains(part)) {
        Some(part) => vec![Breach::new(&source.path, format!("`{part}` says nothing"))],
        None => Vec::new(),
    }
}

pub(super) fn nothing_is_left_for_later(source: &Source) -> Vec<Breach> {
    find(source, &source.comments, &["FIXME", "XXX", "HACK"])
}

/// Every place where one of `words` stands as a word of its own.
fn find(source: &Source, text: &str, words: &[&str]) -> Vec<Breach> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for word in words {
        for (at, _) in text.match_indices(word) {
            let before = text.get(..at).and_then(|text| text.chars().next_back());
            let after = text
                .get(at + word.len()..)
                .and_then(|text| text.chars().next());
            let begins = !word.starts_with(is_word) || !before.is_some_and(is_word);
            let ends = !word.ends_with(is_word) || !after.is_some_and(is_word);
            if begins && ends {
                found.push(Breach::new(source.place(text, at), format!("`{word}`")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&Source) -> Vec<Breach>;

    fn breaks(rule: Rule, path: &str, text: &str) -> bool {
        !rule(&Source::new(path, text)).is_empty()
    }

    #[test]
    fn each_rule_sees_what_breaks_it_and_nothing_else() {
        const APP: &str = "crates/ensue/src/app.rs";
        let cases: &[(Rule, &str, &str, bool)] = &[
            (
                only_dispatch_commits,
                APP,
                "member.commit(commit).await",
                true,
            ),
            (
                only_dispatch_commits,
                APP,
                "// member.commit(commit)",
                false,
            ),
            (
                only_dispatch_commits,
                APP,
                "#[cfg(test)]\nmod t { fn f() { m.commit(c); } }",
                false,
            ),
            (
                only_dispatch_commits,
                "crates/ensue/src/dispatch/batch.rs",
                "m.commit(c)",
                false,
            ),
            (
                only_dispatch_commits,
                "crates/log/src/log.rs",
                "self.commit(c)",
                false,
            ),
            (names_say_something, "crates/ensue/src/utils.rs", "", true),
            (
                names_say_something,
                "crates/ensue/src/common/mod.rs",
                "",
                true,
            ),
            (names_say_something, APP, "", false),
            (nothing_is_left_for_later, APP, "// FIXME: later", true),
            (
                nothing_is_left_for_later,
                APP,
                "let s = \"todo!()\"; // no HACKS",
                false,
            ),
        ];
        for (rule, path, text, is_broken) in cases {
            assert_eq!(breaks(*rule, path, text), *is_broken, "{path}: {text}");
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_found() {
        let found = |lines| files_are_short(&Source::new("file.rs", &"\n".repeat(lines)));
        assert_eq!(found(LINES_MAX).len(), 0);
        assert_eq!(found(LINES_MAX + 1).len(), 1);
    }
}
