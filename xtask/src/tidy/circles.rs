//! Rules about rooms: which modules of a crate may know of each other.

use std::collections::{BTreeMap, BTreeSet};

use super::Breach;
use super::source::Source;

/// Which rooms of a crate each room imports, or which files each file.
pub(super) type Imports<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// The fold of the records, and what is delivered, see neither tasks nor the time.
pub(super) fn model_and_delivery_are_pure(source: &Source) -> Vec<Breach> {
    let rooms = ["crates/engine/src/model/", "crates/engine/src/delivery/"];
    if !rooms.iter().any(|room| source.path.starts_with(room)) {
        return Vec::new();
    }
    let words = ["tokio", "Clock", "SystemTime", "Instant", "background"];
    let found = words
        .into_iter()
        .filter(|word| source.production.contains(word));
    found
        .map(|word| Breach::new(&source.path, format!("`{word}`")))
        .collect()
}

pub(super) fn rooms_import_downwards(sources: &[Source]) -> Vec<Breach> {
    let crates: BTreeSet<&str> = sources
        .iter()
        .filter_map(|source| crate_of(&source.path))
        .collect();
    let mut breaches = Vec::new();
    for name in crates {
        for circle in circles(&imports(sources, name)) {
            let what = format!("{} import each other", circle.join(", "));
            breaches.push(Breach::new(name.to_owned(), what));
        }
    }
    breaches
}

/// The directory of the crate that a file is part of.
pub(super) fn crate_of(path: &str) -> Option<&str> {
    path.split_once("/src/").map(|(directory, _)| directory)
}

/// The rooms of a crate, and what they import of each other outside of tests.
fn imports<'a>(sources: &'a [Source], name: &str) -> Imports<'a> {
    let root = format!("{name}/src/");
    let files: Vec<_> = sources
        .iter()
        .filter_map(|source| Some((source.path.strip_prefix(&root)?, source)))
        .collect();
    let room_of = |path: &'a str| {
        path.split('/')
            .next()
            .unwrap_or(path)
            .trim_end_matches(".rs")
    };
    let rooms: BTreeSet<_> = files
        .iter()
        .map(|(path, _)| room_of(path))
        .filter(|room| !matches!(*room, "lib" | "main" | "tests"))
        .collect();
    let mut imports = Imports::new();
    for (path, source) in files {
        let room = room_of(path);
        if !rooms.contains(room) {
            continue;
        }
        // `super` of a file in the crate's root is the root.
        let up = "super::".repeat(path.split('/').count());
        let named = ["crate::", &up].into_iter();
        let named = named.flat_map(|root| named_after(&source.production, root));
        let others = named.filter_map(|name| rooms.get(name).copied());
        let found = imports.entry(room).or_default();
        found.extend(others.filter(|other| *other != room));
    }
    imports
}

/// The names that follow `root` in a text, in braces or not.
fn named_after<'a>(text: &'a str, root: &str) -> Vec<&'a str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut names = Vec::new();
    for (at, _) in text.match_indices(root) {
        let before = text.get(..at).unwrap_or_default();
        let after = text.get(at + root.len()..).unwrap_or_default();
        if before.ends_with(|c: char| is_word(c) || c == ':' || c == '$') {
            continue;
        }
        let Some(group) = after.strip_prefix('{') else {
            names.extend(after.split(|c| !is_word(c)).next());
            continue;
        };
        let mut depth = 0_usize;
        let mut begins = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                c if begins && is_word(c) => {
                    let name = group.get(at..).unwrap_or_default();
                    names.extend(name.split(|c| !is_word(c)).next());
                    begins = false;
                }
                _ => {}
            }
        }
    }
    names
}

/// The largest sets of rooms, or of files, that reach each other, sorted.
pub(super) fn circles<'a>(imports: &Imports<'a>) -> BTreeSet<Vec<&'a str>> {
    let reached = |from: &'a str| {
        let mut seen = BTreeSet::new();
        let mut next = vec![from];
        while let Some(others) = next.pop().and_then(|room| imports.get(room)) {
            next.extend(others.iter().copied().filter(|other| seen.insert(*other)));
        }
        seen
    };
    let reached: BTreeMap<_, _> = imports.keys().map(|room| (*room, reached(room))).collect();
    let reaches = |from: &str, to: &str| reached.get(from).is_some_and(|them| them.contains(to));
    let rooms = reached.keys().filter(|room| reaches(room, room));
    rooms
        .map(|room| {
            let others = reached.keys().copied();
            others
                .filter(|other| reaches(room, other) && reaches(other, room))
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources = files.iter().map(|(path, text)| {
            let path = format!("crates/engine/src/{path}");
            Source::new(&path, text)
        });
        let breaches = rooms_import_downwards(&sources.collect::<Vec<_>>());
        breaches.into_iter().map(|breach| breach.what).collect()
    }

    #[test]
    fn rooms_that_import_each_other_are_found_however_they_say_it() {
        for up in [
            "use crate::runtime::X;",
            "use crate::{log_error, runtime::X};",
            "use super::super::runtime;",
            "fn f() { crate::runtime::f() }",
        ] {
            let files = [
                ("lib.rs", "mod model; mod runtime; use crate::model::A;"),
                ("model.rs", "mod a;"),
                ("model/a.rs", up),
                ("runtime/b.rs", "use crate::model::a::A;"),
            ];
            assert_eq!(found(&files), ["model, runtime import each other"]);
        }
    }

    #[test]
    fn what_only_tests_comments_or_one_room_say_is_no_circle() {
        let files = [
            (
                "model/a.rs",
                "// crate::runtime\nuse super::b;\n#[cfg(test)]\nmod tests { use crate::runtime::X; }",
            ),
            ("model/b.rs", "use crate::model::a;"),
            ("runtime/b.rs", "use crate::model::a::A;"),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }

    #[test]
    fn a_model_that_waits_or_asks_for_the_time_is_found() {
        let breaches =
            |path: &str, text: &str| model_and_delivery_are_pure(&Source::new(path, text)).len();
        let model = "crates/engine/src/model/state.rs";
        assert_eq!(breaches(model, "use tokio::sync::Notify;"), 1);
        assert_eq!(breaches(model, "fn f(now: Timestamp) {} // tokio"), 0);
        let delivery = "crates/engine/src/delivery/in_flight.rs";
        assert_eq!(breaches(delivery, "use tokio::sync::Notify;"), 1);
        let runtime = "crates/engine/src/runtime/member.rs";
        assert_eq!(breaches(runtime, "use tokio::sync::Notify;"), 0);
    }
}
