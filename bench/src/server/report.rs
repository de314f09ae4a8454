//! The figures, for people, for a page and for programs.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::idle::Idle;
use crate::load::Load;
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
    /// Taking and committing.
    Consuming,
    /// Reading a page.
    Pages,
}

impl Work {
    const ALL: [Self; 4] = [Self::Single, Self::Batches, Self::Consuming, Self::Pages];

    fn title(self) -> &'static str {
        match self {
            Self::Single => "Durable ingest, one event of 200 bytes a request, events/s",
            Self::Batches => "Durable ingest, 100 events a request, events/s",
            Self::Consuming => "Consuming, 100 events taken and committed at a time, events/s",
            Self::Pages => "Reading a page of 100 events, pages/s",
        }
    }
}

/// Who does the same beside our server over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Peer {
    /// As many publishers, or a service, through `ensue://`: our server over gRPC, on one connection.
    Grpc,
    /// As many publishers, or a service, in the process that has the log.
    Embedded,
    /// A handler that does nothing durable.
    Bare,
    Nats,
    Restate,
}

impl Peer {
    const ALL: [Self; 5] = [
        Self::Grpc,
        Self::Embedded,
        Self::Bare,
        Self::Nats,
        Self::Restate,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Grpc => "ensue:// (gRPC)",
            Self::Embedded => "embedded",
            Self::Bare => "bare axum",
            Self::Nats => "NATS",
            Self::Restate => "Restate",
        }
    }
}

/// What one round gave for one work.
pub(super) struct Sample {
    pub(super) work: Work,
    pub(super) connections: usize,
    /// Over HTTP.
    pub(super) ours: Load,
    /// The rates of the others.
    pub(super) peers: Vec<(Peer, f64)>,
}

impl Sample {
    fn rate_of(&self, peer: Peer) -> Option<f64> {
        let found = self.peers.iter().find(|(it, _)| *it == peer);
        found.map(|(_, rate)| *rate)
    }
}

/// One work, over all rounds.
#[derive(Debug, Serialize)]
struct Row {
    work: Work,
    connections: usize,
    ours: Summary,
    p50_microseconds: Summary,
    p99_microseconds: Summary,
    peers: Vec<Beside>,
}

/// Another at the same work.
#[derive(Debug, Serialize)]
struct Beside {
    peer: Peer,
    rate: Summary,
    /// Ours over HTTP as a share of the peer's, round by round.
    ours_of_it: Summary,
}

impl Row {
    fn of(samples: &[&Sample]) -> Option<Self> {
        let first = samples.first()?;
        let all = |figure: fn(&Sample) -> f64| Summary::of(samples.iter().map(|it| figure(it)));
        Some(Self {
            work: first.work,
            connections: first.connections,
            ours: all(|it| it.ours.rate),
            p50_microseconds: all(|it| it.ours.p50_microseconds),
            p99_microseconds: all(|it| it.ours.p99_microseconds),
            peers: Peer::ALL
                .into_iter()
                .filter_map(|peer| Beside::of(peer, samples))
                .collect(),
        })
    }

    fn beside(&self, peer: Peer) -> Option<&Beside> {
        self.peers.iter().find(|it| it.peer == peer)
    }
}

impl Beside {
    fn of(peer: Peer, samples: &[&Sample]) -> Option<Self> {
        let rates = samples
            .iter()
            .filter_map(|it| Some((it.ours.rate, it.rate_of(peer)?)));
        let rates: Vec<(f64, f64)> = rates.collect();
        (!rates.is_empty()).then(|| Self {
            peer,
            rate: Summary::of(rates.iter().map(|(_, its)| *its)),
            ours_of_it: Summary::of(rates.iter().map(|(ours, its)| ours / its)),
        })
    }
}

/// Everything a run found out.
#[derive(Serialize)]
pub(super) struct Report {
    machine: Machine,
    /// Other servers that ran, with their versions.
    servers: Vec<String>,
    rounds: usize,
    seconds: f64,
    rows: Vec<Row>,
    idle: Idle,
}

impl Report {
    pub(super) fn new(
        machine: Machine,
        servers: Vec<String>,
        rounds: &[Vec<Sample>],
        idle: Idle,
        took: Duration,
    ) -> Self {
        let works = rounds.first().map_or(0, Vec::len);
        let samples = |work| rounds.iter().filter_map(move |round| round.get(work));
        Self {
            machine,
            servers,
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
        let beside = if self.servers.is_empty() {
            "no other server runs".to_owned()
        } else {
            let servers = self.servers.join(" and ");
            format!("{servers} on the same machine, {}", self.machine.peers())
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}; {beside}.", self.machine);
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
    let is_there = |peer: &Peer| rows.iter().any(|row| row.beside(*peer).is_some());
    let peers: Vec<Peer> = Peer::ALL.into_iter().filter(is_there).collect();
    let mut heads = vec!["connections", "HTTP", "p50 µs", "p99 µs"];
    heads.extend(peers.iter().flat_map(|peer| [peer.title(), "HTTP of it"]));
    let line = |row: &&Row| {
        let mut cells = vec![
            row.connections.to_string(),
            summary(&row.ours),
            figure(row.p50_microseconds.median),
            figure(row.p99_microseconds.median),
        ];
        for peer in &peers {
            match row.beside(*peer) {
                Some(it) => cells.extend([summary(&it.rate), figure(it.ours_of_it.median)]),
                None => cells.extend(["–".to_owned(), "–".to_owned()]),
            }
        }
        cells
    };
    table(style, &heads, rows.iter().map(line).collect())
}
