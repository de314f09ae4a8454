//! The figures, for people, for a page and for programs.

use std::fmt::Write;

use serde::Serialize;

use super::sample::Sample;
use crate::log::machine::Machine;
use crate::log::report::{Style, figure, summary, table};
use crate::log::statistics::Summary;

/// Everything a run found out.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    /// The servers that ran, with their versions.
    pub(super) servers: Vec<String>,
    /// Those that did not.
    pub(super) missing: Vec<String>,
    pub(super) quick: bool,
    pub(super) rounds: usize,
    pub(super) seconds: f64,
    pub(super) rows: Vec<Row>,
}

/// One row, over all rounds.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    group: &'static str,
    name: String,
    unit: &'static str,
    ours: Summary,
    details: Vec<(&'static str, Summary)>,
    beside: Vec<Beside>,
}

/// Another at the same work.
#[derive(Debug, Serialize)]
struct Beside {
    name: &'static str,
    figure: Summary,
    /// Ours as a share of it, round by round.
    ours_of_it: Summary,
}

/// The rows of all rounds, which have the same samples in the same order.
pub(super) fn rows(rounds: &[Vec<Sample>]) -> Vec<Row> {
    let first = rounds.first().map_or(&[][..], Vec::as_slice);
    let samples = |at: usize| rounds.iter().filter_map(move |round| round.get(at));
    let row = |(at, first): (usize, &Sample)| {
        let detail = |name: &&'static str| {
            let of = |it: &Sample| named(&it.details, name);
            (*name, Summary::of(samples(at).filter_map(of)))
        };
        let beside = |name: &&'static str| {
            let both = |it: &Sample| named(&it.beside, name).map(|theirs| (it.ours, theirs));
            let both: Vec<_> = samples(at).filter_map(both).collect();
            Beside {
                name,
                figure: Summary::of(both.iter().map(|(_, theirs)| *theirs)),
                ours_of_it: Summary::of(both.iter().map(|(ours, theirs)| ours / theirs)),
            }
        };
        let names = |all: &[(&'static str, f64)]| all.iter().map(|it| it.0).collect::<Vec<_>>();
        Row {
            group: first.group,
            name: first.name.clone(),
            unit: first.unit,
            ours: Summary::of(samples(at).map(|it| it.ours)),
            details: names(&first.details).iter().map(detail).collect(),
            beside: names(&first.beside).iter().map(beside).collect(),
        }
    };
    first.iter().enumerate().map(row).collect()
}

fn named(all: &[(&'static str, f64)], name: &str) -> Option<f64> {
    let found = all.iter().find(|(other, _)| *other == name);
    found.map(|(_, value)| *value)
}

impl Report {
    pub(super) fn render(&self, style: Style) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}; {}.", self.machine, self.machine.peers());
        if !self.servers.is_empty() {
            let _ = writeln!(text, "Servers: {}.", self.servers.join(", "));
        }
        if !self.missing.is_empty() {
            let missing = self.missing.join(", ");
            let _ = writeln!(text, "Not measured, as no such server runs: {missing}.");
        }
        let kind = if self.quick { "A quick run" } else { "A run" };
        let _ = writeln!(
            text,
            "{kind} of {:.0} s, {} rounds; median (least–most).\n",
            self.seconds, self.rounds
        );
        let mut groups: Vec<(&str, &str)> = Vec::new();
        for row in &self.rows {
            if !groups.contains(&(row.group, row.unit)) {
                groups.push((row.group, row.unit));
            }
        }
        for (group, unit) in groups {
            let is_of = |row: &&Row| (row.group, row.unit) == (group, unit);
            let rows: Vec<&Row> = self.rows.iter().filter(is_of).collect();
            let _ = writeln!(text, "{group}, {unit}\n\n{}", grouped(style, &rows));
        }
        text
    }
}

/// A line for each peer of a row.
fn grouped(style: Style, rows: &[&Row]) -> String {
    let details = rows.first().map_or(&[][..], |row| &row.details);
    let details: Vec<&str> = details.iter().map(|(name, _)| *name).collect();
    let has_peers = rows.iter().any(|row| !row.beside.is_empty());
    let mut heads = vec!["row", "ours"];
    heads.extend(&details);
    if has_peers {
        heads.extend(["beside", "that", "ours is"]);
    }
    let mut lines = Vec::new();
    for row in rows {
        let mut cells = vec![row.name.clone(), summary(&row.ours)];
        cells.extend(row.details.iter().map(|(_, it)| figure(it.median)));
        if !has_peers {
            lines.push(cells);
            continue;
        }
        for (at, beside) in row.beside.iter().enumerate() {
            let mut line = match at {
                0 => cells.clone(),
                _ => vec![String::new(); cells.len()],
            };
            let Summary {
                median,
                least,
                most,
            } = &beside.ours_of_it;
            line.push(beside.name.to_owned());
            line.push(summary(&beside.figure));
            line.push(format!("{median:.2} ({least:.2}–{most:.2})"));
            lines.push(line);
        }
    }
    table(style, &heads, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_that_of_each_round_not_of_the_medians() {
        let sample = |ours, theirs| Sample {
            group: "projections",
            name: "rows".to_owned(),
            unit: "rows/s",
            ours,
            details: Vec::new(),
            beside: vec![("a loop", theirs)],
        };
        let rounds = [
            vec![sample(10.0, 20.0)],
            vec![sample(40.0, 40.0)],
            vec![sample(30.0, 10.0)],
        ];
        let rows = rows(&rounds);
        assert_eq!(rows[0].ours.median, 30.0);
        assert_eq!(rows[0].beside[0].figure.median, 20.0);
        assert_eq!(rows[0].beside[0].ours_of_it.median, 1.0);
    }
}
