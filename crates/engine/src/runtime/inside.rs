//! Whether one directory lies in another.

use std::path::Path;

/// Whether `inner`, which need not exist, is `outer` or lies in it: links and `..` are resolved.
pub(crate) fn is_inside(inner: &Path, outer: &Path) -> bool {
    let (Ok(inner), Ok(outer)) = (std::path::absolute(inner), outer.canonicalize()) else {
        return false;
    };
    let existing = inner.ancestors().find_map(|path| path.canonicalize().ok());
    existing.is_some_and(|path| path.starts_with(&outer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_inside_through_links_and_dots() {
        let all = tempfile::tempdir().unwrap();
        let (a, b) = (all.path().join("a"), all.path().join("b"));
        std::fs::create_dir_all(a.join("deep")).unwrap();
        std::fs::create_dir(&b).unwrap();
        std::os::unix::fs::symlink(&a, all.path().join("link")).unwrap();
        for inner in ["a", "a/deep", "a/new/er", "link", "link/new", "b/../a/new"] {
            assert!(is_inside(&all.path().join(inner), &a), "{inner}");
        }
        for inner in ["b", "c", "b/new", "ab", "."] {
            assert!(!is_inside(&all.path().join(inner), &a), "{inner}");
        }
        assert!(!is_inside(&b, &all.path().join("nothing")));
    }
}
