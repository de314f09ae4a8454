//! A row: one figure of ours beside the machine's limit, and what is needed to measure it.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::payload::Payloads;
use super::raw::Raw;
use crate::Outcome;

/// What all measurements share.
pub(crate) struct Bench {
    pub(crate) is_quick: bool,
    /// Where everything of this run is; removed at the end.
    pub(crate) directory: TempDir,
    pub(crate) raw: Raw,
    pub(crate) payloads: Payloads,
    /// How long one measurement of ours takes.
    pub(crate) span: Duration,
    pub(crate) rounds: usize,
    pub(crate) backlog_events: u64,
    /// No row is measured again after this.
    pub(crate) repeat_until: Instant,
    /// The events a second that go through publisher and handler at most, once it is known.
    pub(crate) peak: Cell<Option<f64>>,
}

impl Bench {
    /// An empty directory on the disk that is measured.
    pub(crate) fn fresh(&self) -> Outcome<TempDir> {
        Ok(tempfile::tempdir_in(self.directory.path())?)
    }
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// What a round gave.
pub(crate) struct Sample {
    pub(crate) ours: f64,
    /// Measured once, or before and after ours, so that it holds for the time between.
    pub(crate) limits: Vec<f64>,
    /// Further figures, named with their unit.
    pub(crate) details: Vec<(&'static str, f64)>,
}

/// What other stores do beside a row.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Comparison {
    Threads(usize),
    Batches,
}

type Measure = Box<dyn Fn(&Bench) -> Outcome<Sample>>;

/// What a row is, before it is measured.
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// What stands beside it.
    pub(crate) limit: &'static str,
    pub(crate) rounds_max: usize,
    pub(crate) measure: Measure,
    /// What other stores do in the same rounds.
    pub(crate) comparison: Option<Comparison>,
}

impl Row {
    pub(crate) fn new(
        group: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        limit: &'static str,
        measure: impl Fn(&Bench) -> Outcome<Sample> + 'static,
    ) -> Self {
        let better = match unit {
            "µs" | "ms" | "bytes" | "MiB" => Better::Lower,
            _ => Better::Higher,
        };
        Self {
            group,
            name: name.into(),
            unit,
            better,
            limit,
            rounds_max: usize::MAX,
            measure: Box::new(measure),
            comparison: None,
        }
    }

    pub(crate) fn rounds_max(mut self, rounds: usize) -> Self {
        self.rounds_max = rounds;
        self
    }

    pub(crate) fn compared(mut self, comparison: Comparison) -> Self {
        self.comparison = Some(comparison);
        self
    }
}

/// Every file below a directory.
pub(crate) fn files(directory: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}
