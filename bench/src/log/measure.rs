//! Measuring a row in rounds, until the machine holds still.

use std::time::Instant;

use serde::Serialize;

use super::peers;
use super::row::{Bench, Better, Row, Sample};
use super::statistics::Summary;

/// How often a row is measured again because its limit drifted.
const ATTEMPTS_MAX: usize = 3;
/// The limit may differ by this much between the rounds of a row.
const DRIFT_MAX: f64 = 2.0;

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
