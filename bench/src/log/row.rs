//! A row: one figure of ours beside the machine's limit, measured in rounds.

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use tempfile::TempDir;

use super::payload::Payloads;
use super::peers::{self, Comparison};
use super::raw::Raw;
use super::read::Dataset;
use super::statistics::Summary;
use crate::Outcome;

/// How often a row is measured again because its limit drifted.
const ATTEMPTS_MAX: usize = 3;
/// The limit may differ by this much between the rounds of a row.
const DRIFT_MAX: f64 = 2.0;

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
    /// A log of a million events, made when the first row needs it.
    pub(crate) dataset: OnceCell<Dataset>,
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

/// A row with its figures.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) group: &'static str,
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    pub(crate) ours: Summary,
    pub(crate) limit: Summary,
    pub(crate) limit_is: &'static str,
    /// Of the medians; 1 is the limit, whichever way is good.
    pub(crate) share_of_limit: f64,
    pub(crate) details: Vec<(&'static str, Summary)>,
    pub(crate) peers: Vec<peers::Measured>,
    pub(crate) attempts: usize,
    /// Why the row counts for nothing.
    pub(crate) void: Option<String>,
    /// Whether that is an error or a wrong result, and not just a restless machine.
    pub(crate) has_failed: bool,
}

/// Measures a row until its limit holds still, a few times at most.
pub(crate) fn measure(bench: &Bench, row: &Row) -> Measured {
    let rounds = bench.rounds.min(row.rounds_max);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut peers = peers::Rounds::default();
        let mut samples = Vec::new();
        let mut void = None;
        for _ in 0..rounds {
            match (row.measure)(bench) {
                Ok(sample) => samples.push(sample),
                Err(error) => void = Some(error.to_string()),
            }
            if let Some(comparison) = row.comparison {
                peers.measure(bench, comparison);
            }
        }
        let limits = samples.iter().flat_map(|sample| &sample.limits);
        let limits = limits.chain(peers.limits());
        let drift = Summary::of(limits.copied()).spread();
        let has_failed = void.is_some();
        if drift > DRIFT_MAX && !has_failed {
            if attempts < ATTEMPTS_MAX && Instant::now() < bench.repeat_until {
                eprintln!("    the limit drifted {drift:.1}x: again");
                continue;
            }
            void = Some(format!("the limit drifted {drift:.1}x"));
        }
        let mut measured = finish(row, &samples, peers.finish());
        measured.attempts = attempts;
        measured.void = void;
        measured.has_failed = has_failed;
        return measured;
    }
}

fn finish(row: &Row, samples: &[Sample], peers: Vec<peers::Measured>) -> Measured {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let limit = Summary::of(samples.iter().map(|sample| mean(&sample.limits)));
    let ours = Summary::of(samples.iter().map(|sample| sample.ours));
    let names = samples.first().map_or(&[][..], |sample| &sample.details);
    let details = names.iter().map(|(name, _)| {
        let values = samples.iter().flat_map(|sample| &sample.details);
        let same = values.filter(|(other, _)| other == name);
        (*name, Summary::of(same.map(|(_, value)| *value)))
    });
    let share_of_limit = match row.better {
        Better::Higher => ours.median / limit.median,
        Better::Lower => limit.median / ours.median,
    };
    Measured {
        group: row.group,
        name: row.name.clone(),
        unit: row.unit,
        better: row.better,
        limit_is: row.limit,
        share_of_limit,
        details: details.collect(),
        ours,
        limit,
        peers,
        attempts: 1,
        void: None,
        has_failed: false,
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
