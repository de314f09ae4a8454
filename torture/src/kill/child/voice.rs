//! What the child says to its parent.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use crate::kill::report::Report;

/// The standard output, one report a line. What was said is received when the call returns:
/// the line is in the pipe, which outlives the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Voice(Arc<Mutex<()>>);

impl Voice {
    pub(super) fn say(&self, report: &Report) {
        let Ok(mut line) = serde_json::to_vec(report) else {
            std::process::exit(3);
        };
        line.push(b'\n');
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut output = std::io::stdout().lock();
        // The reader is gone: there is nothing left to prove.
        if output
            .write_all(&line)
            .and_then(|()| output.flush())
            .is_err()
        {
            std::process::exit(3);
        }
    }
}
