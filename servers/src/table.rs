//! The servers as a table for people.

use crate::process::Process;
use crate::state::{Entry, State};

const HEADINGS: [&str; 5] = ["NAME", "VERSION", "RUNS", "PID", "URL"];

pub(crate) fn of(state: &State) -> String {
    match state.entries() {
        [] => "no server was started: cargo xtask services up".to_owned(),
        entries => aligned(entries.iter().map(row)),
    }
}

fn row(entry: &Entry) -> [String; 5] {
    let process = Process::of(entry.directory());
    let (runs, pid) = match process {
        Some(process) => ("yes", process.pid().to_string()),
        None => ("NO", String::new()),
    };
    let (name, version) = (entry.name.clone(), entry.version.clone());
    [name, version, runs.to_owned(), pid, entry.url.clone()]
}

/// Every column as wide as its widest cell.
fn aligned(rows: impl Iterator<Item = [String; 5]>) -> String {
    let headings = HEADINGS.map(str::to_owned);
    let rows: Vec<_> = std::iter::once(headings).chain(rows).collect();
    let mut widths = [0; HEADINGS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_with_their_last_cell() {
        let cells = |cells: [&str; 5]| cells.map(str::to_owned);
        let rows = [
            cells(["kafka", "4", "yes", "7", "kafka://127.0.0.1:15000"]),
            cells(["nats-oldest", "2.9.10", "NO", "", "nats://127.0.0.1:15002"]),
        ];
        assert_eq!(
            aligned(rows.into_iter()),
            "NAME         VERSION  RUNS  PID  URL\n\
             kafka        4        yes   7    kafka://127.0.0.1:15000\n\
             nats-oldest  2.9.10   NO         nats://127.0.0.1:15002"
        );
    }

    #[test]
    fn nothing_started_is_said() {
        assert!(of(&State::default()).contains("no server"));
    }
}
