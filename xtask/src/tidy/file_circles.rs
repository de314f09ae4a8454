//! A rule about files: those of a crate import each other in one direction.

use std::collections::{BTreeMap, BTreeSet};

use super::Breach;
use super::circles::{circles, crate_of};
use super::source::Source;

/// The names from a crate's root to a module.
type Module = Vec<String>;

pub(super) fn files_import_downwards(sources: &[Source]) -> Vec<Breach> {
    let mut crates: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
    for source in sources {
        if let Some(name) = crate_of(&source.path) {
            crates.entry(name).or_default().push(source);
        }
    }
    let mut breaches = Vec::new();
    for (name, files) in crates {
        let imports = imports(name, &files);
        let borrowed = imports.iter().map(|(file, others)| {
            let others = others.iter().map(String::as_str).collect();
            (file.as_str(), others)
        });
        for circle in circles(&borrowed.collect()) {
            let what = format!("{} import each other", circle.join(", "));
            breaches.push(Breach::new(name.to_owned(), what));
        }
    }
    breaches
}

/// The files of a crate but for its root, and which of the others each one names outside of tests.
fn imports(name: &str, sources: &[&Source]) -> BTreeMap<String, BTreeSet<String>> {
    let root = format!("{name}/src/");
    let files: BTreeMap<Module, (&str, &Source)> = sources
        .iter()
        .filter_map(|source| {
            let path = source.path.strip_prefix(&root)?;
            let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
            let is_root = matches!(module, "lib" | "main");
            let module = module.split('/').map(str::to_owned).collect();
            (!is_root).then_some((module, (path, *source)))
        })
        .collect();
    let imported = files.iter().map(|(module, (path, source))| {
        let named = paths(module, &source.production);
        let named = named.iter().filter_map(|path| file_of(&files, path));
        let others = named.filter(|other| other != path).map(str::to_owned);
        ((*path).to_owned(), others.collect())
    });
    imported.collect()
}

/// The file that has what a path names: the one of the longest part of it that is a module.
fn file_of<'a>(files: &BTreeMap<Module, (&'a str, &Source)>, path: &[String]) -> Option<&'a str> {
    let parts = (1..=path.len()).rev().filter_map(|len| path.get(..len));
    let mut found = parts.filter_map(|part| files.get(part));
    found.next().map(|(file, _)| *file)
}

/// The paths within the crate that the text of a module names, from the crate's root.
fn paths(module: &[String], text: &str) -> Vec<Module> {
    let inline = inline_modules(text);
    let mut paths = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        if !follows_a_path(text, at) {
            tree(
                text.get(at + "crate::".len()..).unwrap_or_default(),
                &[],
                &mut paths,
            );
        }
    }
    for (at, _) in text.match_indices("super::") {
        if follows_a_path(text, at) {
            continue;
        }
        let mut here = module.to_vec();
        let around = inline.iter().filter(|(_, span)| span.contains(&at));
        here.extend(around.map(|(name, _)| name.clone()));
        let mut rest = text.get(at..).unwrap_or_default();
        while let Some(after) = rest.strip_prefix("super::") {
            here.pop();
            rest = after;
        }
        tree(rest, &here, &mut paths);
    }
    paths
}

/// Whether what is at a place of a text goes on with a path or a word.
fn follows_a_path(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    before.ends_with(|c: char| is_word(c) || c == ':' || c == '$')
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Adds the paths that a text begins with, in braces or not; gives what follows them.
fn tree<'a>(text: &'a str, before: &[String], paths: &mut Vec<Module>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = tree(rest, before, paths).trim_start();
            match rest.strip_prefix(',') {
                Some(after) => rest = after,
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
            if let Some(after) = rest.trim_start().strip_prefix('}') {
                return after;
            }
        }
    }
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut path = before.to_vec();
    if !name.is_empty() && name != "self" {
        path.push(name.to_owned());
    }
    match rest.strip_prefix("::") {
        Some(after) if !name.is_empty() && !after.starts_with('<') => tree(after, &path, paths),
        _ => {
            paths.push(path);
            let alias = rest.trim_start().strip_prefix("as ");
            let alias = alias.map(|name| name.trim_start_matches(is_word));
            alias.unwrap_or(rest)
        }
    }
}

/// The modules inside of a text, from the outside to the inside, and where each is.
fn inline_modules(text: &str) -> Vec<(String, std::ops::Range<usize>)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("mod ") {
        let before = text.get(..at).unwrap_or_default();
        let after = text.get(at + "mod ".len()..).unwrap_or_default();
        let name: String = after.chars().take_while(|c| is_word(*c)).collect();
        let body = after.get(name.len()..).unwrap_or_default().trim_start();
        if before.ends_with(is_word) || !body.starts_with('{') {
            continue;
        }
        let mut depth = 0_usize;
        let length = body.find(|c| {
            depth = match c {
                '{' => depth + 1,
                '}' => depth - 1,
                _ => depth,
            };
            depth == 0
        });
        let start = text.len() - body.len();
        found.push((name, start..start + length.unwrap_or(body.len())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources = files.iter().map(|(path, text)| {
            let path = format!("crates/engine/src/{path}");
            Source::new(&path, text)
        });
        let breaches = files_import_downwards(&sources.collect::<Vec<_>>());
        breaches.into_iter().map(|breach| breach.what).collect()
    }

    #[test]
    fn files_that_import_each_other_are_found_however_they_say_it() {
        for up in [
            "use super::b::B;",
            "use super::{b, c};",
            "use crate::{x, room::{c as d, b::{self, B}}};",
            "fn f() { crate::room::b::f() }",
            "mod inner { use super::super::b::B; }",
        ] {
            let files = [
                ("lib.rs", "mod room; use crate::room::a::A;"),
                ("room.rs", "mod a; mod b; mod c;"),
                ("room/a.rs", up),
                ("room/b.rs", "use crate::room::a::A;"),
                ("room/c.rs", ""),
            ];
            assert_eq!(
                found(&files),
                ["room/a.rs, room/b.rs import each other"],
                "{up}"
            );
        }
    }

    #[test]
    fn what_a_file_says_of_itself_or_in_tests_is_no_circle() {
        let files = [
            (
                "room/a.rs",
                "mod inner { use super::A; }\n#[cfg(test)]\nmod tests { use crate::room::b::B; }",
            ),
            (
                "room/b.rs",
                "use super::a::{A, inner::C}; // crate::room::b",
            ),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }
}
