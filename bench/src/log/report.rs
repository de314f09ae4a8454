//! The figures, for people, for a page and for programs.

use std::fmt::Write;

use comfy_table::{Table, presets};
use serde::Serialize;

use super::machine::Machine;
use super::measure::Measured;
use super::peers;
use super::row::Better;
use super::statistics::Summary;
use crate::Outcome;

/// Everything a run found out.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) rows: Vec<Measured>,
}

/// How figures are printed.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Printing {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

impl Printing {
    /// Prints a report; `render` is for people.
    pub(crate) fn print(
        self,
        report: &impl Serialize,
        render: impl Fn(Style) -> String,
    ) -> Outcome<()> {
        let text = match (self.json, self.markdown) {
            (true, _) => serde_json::to_string(report)?,
            (false, true) => render(Style::Markdown),
            (false, false) => render(Style::Terminal),
        };
        println!("{text}");
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Terminal,
    Markdown,
}

impl Report {
    pub(crate) fn render(&self, style: Style) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}; {}.", self.machine, self.machine.peers());
        let kind = if self.quick { "A quick run" } else { "A run" };
        let _ = writeln!(
            text,
            "{kind} of {:.0} s, {} rounds; median (least–most).\n",
            self.seconds, self.rounds
        );
        let mut rows = self.rows.as_slice();
        while let Some(first) = rows.first() {
            let is_next = |row: &&Measured| row.group == first.group && row.unit == first.unit;
            let (group, rest) = rows.split_at(rows.iter().take_while(is_next).count());
            rows = rest;
            let _ = writeln!(
                text,
                "{}, {}; limit: {}\n",
                first.group, first.unit, first.limit_is
            );
            text += &grouped(style, group);
            text.push('\n');
        }
        for row in self.rows.iter().filter(|row| !row.peers.is_empty()) {
            let mark = if row.void.is_some() { " (void)" } else { "" };
            let _ = writeln!(text, "{}{}, events/s\n", row.name, mark);
            text += &compared(style, row);
            text.push('\n');
        }
        for row in &self.rows {
            if let Some(void) = &row.void {
                let _ = writeln!(text, "Void: {}: {void}", row.name);
            }
        }
        text
    }
}

/// Rows that have unit and details in common.
fn grouped(style: Style, rows: &[Measured]) -> String {
    let details = rows.first().map_or(&[][..], |row| &row.details);
    let names: Vec<&str> = details.iter().map(|(name, _)| *name).collect();
    let heads = ["row", "ours", "limit", "of the limit"];
    let heads: Vec<&str> = heads.into_iter().chain(names.iter().copied()).collect();
    let line = |row: &Measured| {
        let share = match (&row.void, row.better) {
            (Some(_), _) => "void".to_owned(),
            (None, Better::Higher) => format!("{:.2}", row.share_of_limit),
            // How many times as long or as much.
            (None, Better::Lower) => format!("{:.2}x", 1.0 / row.share_of_limit),
        };
        let mut cells = vec![
            row.name.clone(),
            summary(&row.ours),
            summary(&row.limit),
            share,
        ];
        let detail = |name: &&str| {
            let found = row.details.iter().find(|(other, _)| other == name);
            found.map_or_else(|| "–".to_owned(), |(_, value)| figure(value.median))
        };
        cells.extend(names.iter().map(detail));
        cells
    };
    table(style, &heads, rows.iter().map(line).collect())
}

fn compared(style: Style, row: &Measured) -> String {
    let heads = [
        "store",
        "synced",
        "ours is",
        "of the limit",
        "p50 µs",
        "page cache",
        "ours is",
        "note",
    ];
    let ours = row.peers.iter().find(|peer| peer.name == "ensue-log");
    let our_cached = ours.and_then(|peer| peer.page_cache.as_ref());
    let line = |peer: &peers::Measured| {
        let is_ours = peer.name == "ensue-log";
        let synced = if is_ours {
            Some(&row.ours)
        } else {
            peer.sync.as_ref()
        };
        let times = |ours: Option<&Summary>, theirs: Option<&Summary>| match (ours, theirs) {
            (Some(ours), Some(theirs)) if !is_ours => {
                format!("{:.2}x", ours.median / theirs.median)
            }
            _ => "–".to_owned(),
        };
        let show = |it: Option<&Summary>| it.map_or_else(|| "–".to_owned(), summary);
        let p50 = if is_ours {
            row.details.first().map(|(_, p50)| p50)
        } else {
            peer.sync_p50_microseconds.as_ref()
        };
        let share = if is_ours {
            Some(row.share_of_limit)
        } else {
            peer.sync_share_of_limit.as_ref().map(|it| it.median)
        };
        let note = peer
            .void
            .as_ref()
            .map_or_else(|| peer.note.to_owned(), |void| format!("void: {void}"));
        vec![
            peer.name.to_owned(),
            show(synced),
            times(Some(&row.ours), synced),
            share.map_or_else(|| "–".to_owned(), |share| format!("{share:.2}")),
            p50.map_or_else(|| "–".to_owned(), |p50| figure(p50.median)),
            show(peer.page_cache.as_ref()),
            times(our_cached, peer.page_cache.as_ref()),
            note,
        ]
    };
    table(style, &heads, row.peers.iter().map(line).collect())
}

pub(crate) fn table(style: Style, heads: &[&str], rows: Vec<Vec<String>>) -> String {
    match style {
        Style::Terminal => {
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            table.set_header(heads);
            table.add_rows(rows);
            format!("{table}\n")
        }
        Style::Markdown => {
            let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
            let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
            let rule: Vec<String> = heads.iter().map(|_| "---".to_owned()).collect();
            let rows: String = rows.iter().map(|row| line(row)).collect();
            format!("{}{}{rows}", line(&heads), line(&rule))
        }
    }
}

pub(crate) fn summary(summary: &Summary) -> String {
    let Summary {
        median,
        least,
        most,
    } = *summary;
    if least == most {
        figure(median)
    } else {
        format!("{} ({}–{})", figure(median), figure(least), figure(most))
    }
}

/// Three digits that count, and thousands told apart.
pub(crate) fn figure(value: f64) -> String {
    let size = value.abs();
    if size < 10.0 {
        return format!("{value:.2}");
    }
    if size < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{size:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 {
        grouped.insert(0, '-');
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(figure(1_234_567.8), "1,234,568");
        assert_eq!(figure(-123.4), "-123");
        assert_eq!(figure(12.34), "12.3");
        assert_eq!(figure(0.5), "0.50");
    }
}
