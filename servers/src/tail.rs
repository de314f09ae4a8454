//! The end of what a program said.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

const LINES_MAX: usize = 20;
const BYTES_MAX: i64 = 16 * 1024;

/// The end of a file, as far as it can be read.
pub(crate) fn last_lines(file: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(file)?;
        let bytes = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
        file.seek(SeekFrom::End(-bytes.min(BYTES_MAX)))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        Ok(end)
    };
    match read() {
        Ok(end) => tail(&String::from_utf8_lossy(&end)),
        Err(error) => format!("(cannot be read: {error})"),
    }
}

pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    let first = lines.len().saturating_sub(LINES_MAX);
    lines.get(first..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_a_long_log_is_shown() {
        let lines: Vec<_> = (0..50).map(|line| line.to_string()).collect();
        let tail = tail(&lines.join("\n"));
        assert!(tail.starts_with("30\n") && tail.ends_with("\n49"), "{tail}");
        assert!(last_lines(Path::new("/nowhere/at/all")).contains("cannot be read"));
    }
}
