//! The lines of a file that nobody promises to be one.

use std::io::{self, BufRead, Read};

/// The longest line that is looked at. Syslog's own limit is far below.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1_024;
/// The longest line that is passed over: what has a longer one has no lines.
pub(crate) const SKIPPED_BYTES_MAX: u64 = 64 * 1_024 * 1_024;

/// Reads lines one by one, without what ends them.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            line: Vec::new(),
            number: 0,
        }
    }

    /// The next line with its number, from 1. One that is longer than [`LINE_BYTES_MAX`] is empty, and one that goes
    /// on for [`SKIPPED_BYTES_MAX`] more is an error.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        self.line.clear();
        let mut limited = self.reader.by_ref().take(LINE_BYTES_MAX as u64);
        if limited.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        if self.line.len() == LINE_BYTES_MAX && self.line.last() != Some(&b'\n') {
            self.line.clear();
            let mut limited = self.reader.by_ref().take(SKIPPED_BYTES_MAX);
            if limited.skip_until(b'\n')? as u64 == SKIPPED_BYTES_MAX {
                let number = self.number + 1;
                let what = format!("line {number} has more than {SKIPPED_BYTES_MAX} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        self.number += 1;
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok(Some((
            self.number,
            line.strip_suffix(b"\r").unwrap_or(line),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_an_end_is_an_error() {
        let mut lines = Lines::new(io::BufReader::new(io::repeat(0)));
        let error = lines.next().unwrap_err().to_string();
        assert!(error.contains("line 1 has more than"), "{error}");
    }

    #[test]
    fn lines_end_in_both_ways_and_one_that_is_too_long_is_empty() {
        let long = "x".repeat(3 * LINE_BYTES_MAX);
        let text = format!("one\r\n\ntwo\n{long}\n\u{fffd}three");
        let mut lines = Lines::new(text.as_bytes());
        let mut found = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            found.push((number, String::from_utf8_lossy(line).into_owned()));
        }
        let expected = ["one", "", "two", "", "\u{fffd}three"];
        let expected = (1..).zip(expected.map(str::to_owned));
        assert!(found.iter().cloned().eq(expected), "{found:?}");
    }
}
