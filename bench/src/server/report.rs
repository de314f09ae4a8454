//! The figures, for people, for a page and for programs.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::idle::Idle;
use super::load::Load;
use crate::log::machine::Machine;
use crate::log::report::{Style, figure, summary, table};
use crate::log::statistics::Summary;

/// What is done over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Work {
    /// Appending one event.
    Single,
    /// Appending a batch.
    Batches,
    /// Reading a page.
    Pages,
}

impl Work {
    const ALL: [Self; 3] = [Self::Single, Self::Batches, Self::Pages];

    fn title(self) -> &'static str {
        match self {
            Self::Single => "Durable ingest, one event of 200 bytes a request, events/s",
            Self::Batches => "Durable ingest, 100 events a request, events/s",
            Self::Pages => "Reading a page of 100 events, pages/s",
        }
    }
}

/// What one round gave for one work.
pub(super) struct Sample {
    pub(super) work: Work,
    pub(super) connections: usize,
    pub(super) ours: Load,
    /// As many publishers in this process.
    pub(super) publisher: Option<Load>,
    /// The bare handler.
    pub(super) bare: Load,
    pub(super) nats: Option<Load>,
}

/// One work, over all rounds.
#[derive(Debug, Serialize)]
struct Row {
    work: Work,
    connections: usize,
    ours: Summary,
    p50_microseconds: Summary,
    p99_microseconds: Summary,
    publisher: Option<Summary>,
    bare: Summary,
    nats: Option<Summary>,
    /// The median of each round's own ratio.
    share_of_publisher: Option<Summary>,
    share_of_bare: Summary,
    share_of_nats: Option<Summary>,
}

impl Row {
    fn of(samples: &[&Sample]) -> Option<Self> {
        let first = samples.first()?;
        let all = |figure: fn(&Sample) -> f64| Summary::of(samples.iter().map(|it| figure(it)));
        let some = |figure: fn(&Sample) -> Option<f64>| {
            let values: Vec<f64> = samples.iter().filter_map(|it| figure(it)).collect();
            (!values.is_empty()).then(|| Summary::of(values))
        };
        Some(Self {
            work: first.work,
            connections: first.connections,
            ours: all(|it| it.ours.rate),
            p50_microseconds: all(|it| it.ours.p50_microseconds),
            p99_microseconds: all(|it| it.ours.p99_microseconds),
            publisher: some(|it| Some(it.publisher?.rate)),
            bare: all(|it| it.bare.rate),
            nats: some(|it| Some(it.nats?.rate)),
            share_of_publisher: some(|it| Some(it.ours.rate / it.publisher?.rate)),
            share_of_bare: all(|it| it.ours.rate / it.bare.rate),
            share_of_nats: some(|it| Some(it.ours.rate / it.nats?.rate)),
        })
    }
}

/// Everything a run found out.
#[derive(Serialize)]
pub(super) struct Report {
    machine: Machine,
    /// The version of NATS, if it runs.
    nats: Option<String>,
    rounds: usize,
    seconds: f64,
    rows: Vec<Row>,
    idle: Idle,
}

impl Report {
    pub(super) fn new(
        machine: Machine,
        nats: Option<String>,
        rounds: &[Vec<Sample>],
        idle: Idle,
        took: Duration,
    ) -> Self {
        let works = rounds.first().map_or(0, Vec::len);
        let samples = |work| rounds.iter().filter_map(move |round| round.get(work));
        Self {
            machine,
            nats,
            rounds: rounds.len(),
            seconds: took.as_secs_f64(),
            rows: (0..works)
                .filter_map(|work| Row::of(&samples(work).collect::<Vec<_>>()))
                .collect(),
            idle,
        }
    }

    pub(super) fn render(&self, style: Style) -> String {
        let mut text = String::new();
        let nats = match &self.nats {
            Some(version) => format!(
                "NATS {version} on the same machine, {}",
                self.machine.peers()
            ),
            None => "NATS does not run".to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}; {nats}.", self.machine);
        let _ = writeln!(
            text,
            "A run of {:.0} s, {} rounds; median (least–most).\n",
            self.seconds, self.rounds
        );
        for work in Work::ALL {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.work == work).collect();
            let _ = writeln!(text, "{}\n\n{}", work.title(), of_work(style, &rows));
        }
        let Idle { streams, mib } = self.idle;
        let each = mib * 1024.0 / streams.max(1) as f64;
        let _ = writeln!(
            text,
            "{streams} idle streams take {} MiB, {} KiB each, both ends.",
            figure(mib),
            figure(each)
        );
        text
    }
}

fn of_work(style: Style, rows: &[&Row]) -> String {
    let heads = [
        "connections",
        "ours",
        "p50 µs",
        "p99 µs",
        "publisher",
        "of it",
        "bare axum",
        "of it",
        "NATS",
        "of it",
    ];
    let shown = |it: Option<&Summary>| it.map_or_else(|| "–".to_owned(), summary);
    let median = |it: Option<&Summary>| it.map_or_else(|| "–".to_owned(), |it| figure(it.median));
    let line = |row: &&Row| {
        vec![
            row.connections.to_string(),
            summary(&row.ours),
            figure(row.p50_microseconds.median),
            figure(row.p99_microseconds.median),
            shown(row.publisher.as_ref()),
            median(row.share_of_publisher.as_ref()),
            figure(row.bare.median),
            figure(row.share_of_bare.median),
            shown(row.nats.as_ref()),
            median(row.share_of_nats.as_ref()),
        ]
    };
    table(style, &heads, rows.iter().map(line).collect())
}
