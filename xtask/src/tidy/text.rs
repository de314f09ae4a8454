//! Rules about what stands in the sources.

use super::Breach;
use super::source::Source;

const LINES_MAX: usize = 600;

/// Files that may be longer, and why. An entry that is not needed any more is a breach itself.
const LONG_FILES: &[(&str, &str)] = &[(
    "crates/log/src/storage/fault.rs",
    "one simulated disk: what it remembers and how it fails are told together",
)];

/// Ignored tests that are no tests, and what they are.
const IGNORED: &[(&str, &str)] = &[(
    "crates/log/tests/golden.rs",
    "writes the golden files of a new format, once",
)];

/// Where sockets are opened: brokers and databases behind engines and building blocks, HTTP and
/// gRPC in the server, whoever plays such a part in a test, and what starts real ones for tests.
const SOCKET_PLACES: [&str; 9] = [
    "crates/brokers/",
    "crates/ensue/src/trigger",
    "crates/ensue/src/lock",
    "crates/ensue/src/cache",
    "crates/ensue/src/config",
    "crates/server/",
    "examples/",
    "bench/",
    "servers/",
];

/// Where `.commit(` is spelled for good reasons: dispatch, engines, and what stands in for one.
const COMMIT_PLACES: [&str; 4] = [
    "crates/ensue/src/contract",
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
    match is_checked {
        true => find(source, &source.production, &words),
        false => Vec::new(),
    }
}

pub(super) fn sockets_have_their_places(source: &Source) -> Vec<Breach> {
    let may = SOCKET_PLACES
        .iter()
        .any(|place| source.path.starts_with(place));
    let words = [
        "std::net",
        "tokio::net",
        "os::unix::net",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
    ];
    match may {
        true => Vec::new(),
        false => find(source, &source.production, &words),
    }
}

pub(super) fn queues_are_bounded(source: &Source) -> Vec<Breach> {
    let words = [
        "unbounded_channel",
        "unbounded(",
        "std::sync::mpsc::channel",
        "std_mpsc::channel",
    ];
    let all = find_bytes(&source.production, &words).into_iter();
    // A queue may be bounded by what feeds it, where that is said.
    let silent = all.filter(|(at, _)| {
        let said = comments_above(source, &source.production, *at, 8);
        !said.contains("bound") && !said.contains("at most")
    });
    silent
        .map(|(at, word)| Breach::new(source.place(&source.production, at), format!("`{word}`")))
        .collect()
}

pub(super) fn files_are_short(sources: &[Source]) -> Vec<Breach> {
    files_are_short_but_for(sources, LONG_FILES)
}

fn files_are_short_but_for(sources: &[Source], excused: &[(&str, &str)]) -> Vec<Breach> {
    let reason = |path: &str| excused.iter().any(|(long, _)| *long == path);
    let long = sources.iter().filter_map(|source| {
        let lines = source.code.lines().count();
        (lines > LINES_MAX && !reason(&source.path))
            .then(|| Breach::new(&source.path, format!("{lines} lines")))
    });
    let stale = excused.iter().filter_map(|(path, _)| {
        let source = sources.iter().find(|source| source.path == *path);
        let is_needed = source.is_some_and(|source| source.code.lines().count() > LINES_MAX);
        (!is_needed).then(|| Breach::new(*path, "is in `LONG_FILES` and need not be"))
    });
    long.chain(stale).collect()
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
    let mut found = find(source, &source.code, &["todo!", "unimplemented!", "dbg!"]);
    found.extend(find(source, &source.comments, &["FIXME", "XXX", "HACK"]));
    found
}

pub(super) fn every_test_runs(source: &Source) -> Vec<Breach> {
    match IGNORED.iter().any(|(path, _)| *path == source.path) {
        true => Vec::new(),
        false => find(source, &source.code, &["#[ignore"]),
    }
}

pub(super) fn allowances_have_reasons(source: &Source) -> Vec<Breach> {
    let attributes = ["#[allow(", "#![allow(", "#[expect(", "#![expect("];
    let all = attributes.iter().flat_map(|word| {
        let places = source.code.match_indices(word);
        places.map(|(at, _)| at).collect::<Vec<_>>()
    });
    let unreasoned = all.filter(|at| !has_reason(source, *at));
    unreasoned
        .map(|at| Breach::new(source.place(&source.code, at), "no reason"))
        .collect()
}

/// Whether the attribute at this byte says `reason =`, or a comment stands on its line or just above.
fn has_reason(source: &Source, at: usize) -> bool {
    let attribute = source.code.get(at..).unwrap_or_default();
    let attribute = attribute.split(']').next().unwrap_or_default();
    attribute.contains("reason") || !comments_above(source, &source.code, at, 2).is_empty()
}

/// The comments, documentation aside, on the line of a byte of `text` and up to `lines` above it.
fn comments_above(source: &Source, text: &str, at: usize, lines: usize) -> String {
    let before = text.get(..at).unwrap_or_default();
    let line = before.bytes().filter(|byte| *byte == b'\n').count();
    let first = line.saturating_sub(lines);
    let near = source.comments.lines().skip(first).take(line - first + 1);
    let remarks = near.map(str::trim).filter(|comment| {
        let is_documentation = comment.starts_with("///") || comment.starts_with("//!");
        comment.starts_with("//") && !is_documentation
    });
    remarks.collect()
}

/// Every place where one of `words` stands as a word of its own.
fn find(source: &Source, text: &str, words: &[&str]) -> Vec<Breach> {
    let found = find_bytes(text, words).into_iter();
    found
        .map(|(at, word)| Breach::new(source.place(text, at), format!("`{word}`")))
        .collect()
}

fn find_bytes<'w>(text: &str, words: &[&'w str]) -> Vec<(usize, &'w str)> {
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
                found.push((at, *word));
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
            (
                sockets_have_their_places,
                APP,
                "use std::net::IpAddr;",
                true,
            ),
            (
                sockets_have_their_places,
                "crates/brokers/src/nats.rs",
                "use std::net::X;",
                false,
            ),
            (
                queues_are_bounded,
                APP,
                "let (tx, rx) = mpsc::unbounded_channel();",
                true,
            ),
            (
                queues_are_bounded,
                APP,
                "let (tx, rx) = mpsc::channel(QUEUE_MAX);",
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
            (nothing_is_left_for_later, APP, "fn f() { todo!() }", true),
            (nothing_is_left_for_later, APP, "// FIXME: later", true),
            (
                nothing_is_left_for_later,
                APP,
                "let s = \"todo!()\"; // no HACKS",
                false,
            ),
            (
                every_test_runs,
                APP,
                "#[test]\n#[ignore = \"slow\"]\nfn f() {}",
                true,
            ),
            (
                allowances_have_reasons,
                APP,
                "#[allow(dead_code)]\nfn f() {}",
                true,
            ),
            (
                allowances_have_reasons,
                APP,
                "/// f\n#[allow(dead_code)]\nfn f() {}",
                true,
            ),
            (
                allowances_have_reasons,
                APP,
                "// called by a macro\n#[allow(dead_code)]",
                false,
            ),
            (
                allowances_have_reasons,
                APP,
                "#[allow(dead_code)] // for a macro",
                false,
            ),
            (
                allowances_have_reasons,
                APP,
                "#[allow(x, reason = \"a macro\")]",
                false,
            ),
        ];
        for (rule, path, text, is_broken) in cases {
            assert_eq!(breaks(*rule, path, text), *is_broken, "{path}: {text}");
        }
    }

    #[test]
    fn a_long_file_needs_a_reason_and_a_reason_a_long_file() {
        let long = "\n".repeat(LINES_MAX + 1);
        let sources = [
            Source::new("long.rs", &long),
            Source::new("excused.rs", &long),
            Source::new("short.rs", "fn f() {}"),
        ];
        let found =
            files_are_short_but_for(&sources, &[("excused.rs", "why"), ("short.rs", "why")]);
        let places: Vec<_> = found.iter().map(|breach| breach.place.as_str()).collect();
        assert_eq!(places, ["long.rs", "short.rs"]);
    }
}
