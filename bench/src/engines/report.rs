//! The figures, for people, for a page and for programs.

use std::fmt::Write;

use serde::Serialize;

use super::round::Extent;
use super::row::Row;
use crate::log::machine::Machine;
use crate::log::report::{Style, figure, summary, table};

/// Everything a run found out.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) servers: Vec<(&'static str, String)>,
    /// Engines whose server does not run.
    pub(super) missing: Vec<&'static str>,
    pub(super) extent: Extent,
    pub(super) quick: bool,
    pub(super) seconds: f64,
    pub(super) rows: Vec<Row>,
    pub(super) failed: Vec<String>,
}

impl Report {
    pub(super) fn render(&self, style: Style) -> String {
        let servers = self.servers.iter().map(|(name, it)| format!("{name} {it}"));
        let servers: Vec<String> = servers.collect();
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}; servers on the same machine: {}; clients: {}.",
            self.machine,
            servers.join(", "),
            self.machine.peers()
        );
        let kind = if self.quick { "A quick run" } else { "A run" };
        let _ = writeln!(
            text,
            "{kind} of {:.0} s, {} rounds of {} events and {} single ones; median (least–most).\n",
            self.seconds, self.extent.rounds, self.extent.events, self.extent.timed
        );
        let mut works: Vec<&'static str> = Vec::new();
        for row in &self.rows {
            if !works.contains(&row.work) {
                works.push(row.work);
            }
        }
        for work in works {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.work == work).collect();
            let unit = rows.first().map_or("", |row| row.unit);
            let _ = writeln!(text, "{work}, {unit}\n");
            text += &of_work(style, &rows);
            text.push('\n');
        }
        if !self.missing.is_empty() {
            let _ = writeln!(text, "No server runs for: {}", self.missing.join(", "));
        }
        for failure in &self.failed {
            let _ = writeln!(text, "Failed: {failure}");
        }
        text
    }
}

fn of_work(style: Style, rows: &[&Row]) -> String {
    let details = rows.first().map_or(&[][..], |row| &row.details);
    let heads = ["engine", "ours", "client", "of the client"];
    let names = details.iter().map(|(name, _)| *name);
    let heads: Vec<&str> = heads.into_iter().chain(names).collect();
    let line = |row: &&Row| {
        let details = row.details.iter().map(|(_, value)| figure(value.median));
        let mut cells = vec![
            row.engine.to_owned(),
            summary(&row.ours),
            summary(&row.client),
            summary(&row.share_of_client),
        ];
        cells.extend(details);
        cells
    };
    table(style, &heads, rows.iter().map(line).collect())
}
