//! What sagas reach outside the log: a file with a line for each call.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The world: it does something once for each idempotency key, as a good one does.
#[derive(Clone)]
pub(super) struct World(PathBuf);

/// Something that was done: once for each of these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Done {
    /// `+` and `-`, and the step.
    pub(super) what: String,
    pub(super) trip: String,
    /// The idempotency key.
    pub(super) id: String,
}

impl World {
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn call(&self, what: &str, trip: &str, id: &str) {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.0)
            .unwrap();
        // One write: a process that is killed leaves a line or none.
        file.write_all(format!("{what} {trip} {id}\n").as_bytes())
            .unwrap();
    }

    /// What was done, in order; calls that came again did nothing.
    pub(super) fn done(&self) -> Vec<Done> {
        let text = std::fs::read_to_string(&self.0).unwrap();
        let mut seen = BTreeSet::new();
        let calls = text.lines().map(|line| {
            let mut parts = line.split(' ').map(str::to_owned);
            let mut part = || parts.next().expect(line);
            Done {
                what: part(),
                trip: part(),
                id: part(),
            }
        });
        calls.filter(|done| seen.insert(done.clone())).collect()
    }
}
