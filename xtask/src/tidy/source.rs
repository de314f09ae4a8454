//! A source file, taken apart far enough that a rule cannot mistake a comment for code.

use std::fs;
use std::path::Path;

/// Directories that hold sources of the project.
const ROOTS: [&str; 7] = [
    "bench", "crates", "examples", "fuzz", "servers", "torture", "xtask",
];

/// One Rust file. All texts have the file's lines, with other things blanked out.
#[derive(Debug)]
pub(super) struct Source {
    /// From the workspace's root, with `/`.
    pub(super) path: String,
    /// Without comments and without what is inside quotes.
    pub(super) code: String,
    /// `code`, without what only tests compile.
    pub(super) production: String,
    /// Comments alone.
    pub(super) comments: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let (code, comments) = separate(text);
        let production = if is_test_file(path) {
            blank(&code)
        } else {
            without_tests(&code)
        };
        Self {
            path: path.to_owned(),
            code,
            production,
            comments,
        }
    }

    /// The file and the line of a byte of one of its texts.
    pub(super) fn place(&self, text: &str, at: usize) -> String {
        let before = text.get(..at).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        format!("{}:{line}", self.path)
    }
}

/// Every Rust file of the project.
pub(super) fn all(root: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    let mut directories: Vec<_> = ROOTS.map(|name| root.join(name)).into();
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue; // not every root is there yet
        };
        for entry in entries {
            let path = entry
                .map_err(|error| format!("{}: {error}", directory.display()))?
                .path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !["target", "generated"].contains(&&*name) && !name.starts_with('.')
            {
                directories.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path);
                let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
                let relative = path.strip_prefix(root).unwrap_or(&path);
                let relative = relative.to_string_lossy().replace('\\', "/");
                sources.push(Source::new(&relative, &text));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    if sources.is_empty() {
        Err(format!("there are no sources below {}", root.display()))
    } else {
        Ok(sources)
    }
}

fn is_test_file(path: &str) -> bool {
    path.split('/')
        .any(|part| matches!(part, "tests" | "tests.rs" | "benches"))
}

fn blank(text: &str) -> String {
    text.chars()
        .map(|c| if c == '\n' { '\n' } else { ' ' })
        .collect()
}

/// Splits a text into its code and its comments.
fn separate(text: &str) -> (String, String) {
    let (mut code, mut comments) = (String::new(), String::new());
    let mut rest = text;
    let mut previous = ' ';
    while let Some(c) = rest.chars().next() {
        let (kind, length) = token(rest, previous);
        let (piece, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        match kind {
            Kind::Code => {
                code.push_str(piece);
                comments.push_str(&blank(piece));
            }
            Kind::Comment => {
                code.push_str(&blank(piece));
                comments.push_str(piece);
            }
            Kind::Literal => {
                code.push_str(&blank(piece));
                comments.push_str(&blank(piece));
            }
        }
        previous = if kind == Kind::Code { c } else { ' ' };
        rest = after;
    }
    (code, comments)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// What `rest` begins with, and how many bytes of it.
fn token(rest: &str, previous: char) -> (Kind, usize) {
    let first = rest.chars().next().map_or(1, char::len_utf8);
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    if rest.starts_with('"') {
        return (
            Kind::Literal,
            1 + quoted(rest.get(1..).unwrap_or_default(), '"'),
        );
    }
    if rest.starts_with('\'') {
        return match character(rest) {
            Some(length) => (Kind::Literal, length),
            None => (Kind::Code, first), // a lifetime
        };
    }
    let is_word = previous.is_alphanumeric() || previous == '_';
    let raw = ["r", "br", "cr"].iter().find_map(|prefix| {
        let hashes = rest.strip_prefix(prefix)?;
        let inside = hashes.trim_start_matches('#');
        let count = hashes.len() - inside.len();
        let inside = inside.strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(count));
        let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
        Some(prefix.len() + count + 1 + length)
    });
    match raw {
        Some(length) if !is_word => (Kind::Literal, length),
        _ => (Kind::Code, first),
    }
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let step = if rest.starts_with("/*") {
            depth += 1;
            2
        } else if rest.starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length up to and with the closing quote.
fn quoted(inside: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in inside.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    inside.len()
}

/// The length of a character literal; `None` for a lifetime.
fn character(text: &str) -> Option<usize> {
    let inside = text.get(1..)?;
    let mut chars = inside.chars();
    match (chars.next()?, chars.next()) {
        ('\\', _) => Some(1 + quoted(inside, '\'')),
        (c, Some('\'')) => Some(1 + c.len_utf8() + 1),
        _ => None,
    }
}

/// Blanks out every item under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let (before, item) = rest.split_at_checked(at).unwrap_or((rest, ""));
        let (item, after) = item
            .split_at_checked(item_length(item))
            .unwrap_or((item, ""));
        kept.push_str(before);
        kept.push_str(&blank(item));
        rest = after;
    }
    kept.push_str(rest);
    kept
}

/// The length of an item: up to its `;`, or to the brace that closes its first one.
fn item_length(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    item.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_quotes_are_not_code() {
        let text = "let a = \"// no \\\" comment\"; // a note\n/* b /* c */ d */ let e = 'x';\n\
                    let r = r#\"un\"safe\"#; fn f<'a>(q: &'a str) {} let n = '\\'';";
        let source = Source::new("crates/x/src/a.rs", text);
        for hidden in ["comment", "note", "b", "d */", "safe", "'x'", "\\'"] {
            assert!(!source.code.contains(hidden), "{hidden}: {}", source.code);
        }
        for shown in [
            "let a",
            "let e",
            "let r",
            "fn f<'a>(q: &'a str) {}",
            "let n",
        ] {
            assert!(source.code.contains(shown), "{shown}: {}", source.code);
        }
        assert!(source.comments.contains("// a note"));
        assert!(source.comments.contains("/* b /* c */ d */"));
        assert_eq!(source.code.lines().count(), text.lines().count());
    }

    #[test]
    fn what_only_tests_compile_is_not_production() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { { } }\n}\nfn c() {}\n";
        let source = Source::new("crates/x/src/a.rs", text);
        assert!(source.production.contains("fn a") && source.production.contains("fn c"));
        assert!(!source.production.contains("fn b") && source.code.contains("fn b"));
        let at = source.production.find("fn c").unwrap();
        assert_eq!(source.place(&source.production, at), "crates/x/src/a.rs:6");
        assert!(
            Source::new("crates/x/tests/t.rs", text)
                .production
                .trim()
                .is_empty()
        );
    }
}
