//! A row: one work of one engine beside its client's, over all rounds.

use serde::Serialize;

use crate::log::statistics::Summary;

/// What one round gave for one row.
pub(super) struct Sample {
    pub(super) work: &'static str,
    pub(super) unit: &'static str,
    pub(super) ours: f64,
    pub(super) client: f64,
    /// Further figures, named with their unit.
    pub(super) details: Vec<(&'static str, f64)>,
}

#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) engine: &'static str,
    pub(super) work: &'static str,
    pub(super) unit: &'static str,
    pub(super) ours: Summary,
    pub(super) client: Summary,
    /// The median of each round's own ratio; 1 is the client's, and more is better, for times too.
    pub(super) share_of_client: Summary,
    pub(super) details: Vec<(&'static str, Summary)>,
}

/// Rows from the samples of all rounds of one engine: every round gives the same ones.
pub(super) fn rows(engine: &'static str, rounds: &[Vec<Sample>]) -> Vec<Row> {
    let first = rounds.first().map_or(&[][..], Vec::as_slice);
    let row = |(index, first): (usize, &Sample)| {
        let samples: Vec<&Sample> = rounds.iter().filter_map(|it| it.get(index)).collect();
        let details = first.details.iter().enumerate().map(|(detail, (name, _))| {
            let values = samples.iter().filter_map(|it| it.details.get(detail));
            (*name, Summary::of(values.map(|(_, value)| *value)))
        });
        Row {
            engine,
            work: first.work,
            unit: first.unit,
            ours: Summary::of(samples.iter().map(|it| it.ours)),
            client: Summary::of(samples.iter().map(|it| it.client)),
            share_of_client: Summary::of(samples.iter().map(|it| share(it))),
            details: details.collect(),
        }
    };
    first.iter().enumerate().map(row).collect()
}

fn share(sample: &Sample) -> f64 {
    match sample.unit {
        "µs" => sample.client / sample.ours,
        _ => sample.ours / sample.client,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_as_fast_and_half_as_long_are_the_same_share() {
        let sample = |unit, ours, client| Sample {
            work: "work",
            unit,
            ours,
            client,
            details: Vec::new(),
        };
        let round = || vec![sample("events/s", 4.0, 2.0), sample("µs", 1.0, 2.0)];
        let rows = rows("engine", &[round(), round()]);
        let shares: Vec<f64> = rows.iter().map(|row| row.share_of_client.median).collect();
        assert_eq!(shares, [2.0, 2.0]);
    }
}
