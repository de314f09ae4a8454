//! The one place that writes to the terminal.

use std::io::{self, Write};
use std::process::ExitCode;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::error::Error;
use crate::query::Found;
use crate::summary::Summary;
use crate::world::BadRows;

/// The exit code of a program that was interrupted, as shells know it.
const INTERRUPTED: u8 = 130;

/// Sends what the framework has to say to stderr; `RUST_LOG` decides how much.
pub fn init_tracing() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
}

/// Prints one JSON value.
///
/// # Errors
/// When stdout is closed.
pub fn json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)
}

/// Prints a summary as a table.
///
/// # Errors
/// When stdout is closed.
pub fn table(summary: &Summary) -> io::Result<()> {
    let totals = &summary.totals;
    let mut table = new_table(&["sensors", ""]);
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| value.to_string());
    for (name, value) in [
        ("readings stored", totals.readings.to_string()),
        ("devices", totals.devices.to_string()),
        ("min", number(totals.min)),
        ("max", number(totals.max)),
        ("mean", number(totals.mean)),
        ("gaps", totals.gaps.to_string()),
        ("duplicates", totals.duplicates.to_string()),
        ("rejected", totals.rejected.to_string()),
        ("alarms", totals.alarms.to_string()),
        ("alarms, not cleared", totals.alarms_open.to_string()),
        ("calibrations", totals.calibrations.to_string()),
        ("seconds, this run", format!("{:.2}", summary.seconds)),
        (
            "readings per second",
            format!("{:.0}", summary.readings_per_second),
        ),
    ] {
        table.add_row([Cell::new(name), right(value)]);
    }
    writeln!(io::stdout().lock(), "{table}")
}

/// Prints what was found as a table.
///
/// # Errors
/// When stdout is closed.
pub fn found(found: &Found) -> io::Result<()> {
    let table = match found {
        Found::Rows(rows) => {
            let mut table = new_table(&["device", "sequence", "at", "value"]);
            for row in rows {
                table.add_row([
                    Cell::new(&row.device),
                    right(row.sequence.to_string()),
                    right(row.at.to_string()),
                    right(row.value.to_string()),
                ]);
            }
            table
        }
        Found::Aggregates(pieces) => {
            let mut table = new_table(&["device", "from", "readings", "min", "max", "mean"]);
            for piece in pieces {
                table.add_row([
                    Cell::new(&piece.device),
                    right(piece.from.to_string()),
                    right(piece.readings.to_string()),
                    right(piece.min.to_string()),
                    right(piece.max.to_string()),
                    right(piece.mean.to_string()),
                ]);
            }
            table
        }
    };
    writeln!(io::stdout().lock(), "{table}")
}

/// Says which rows of a recording are no readings.
pub fn bad_rows(bad: &BadRows) {
    for (line, reason) in &bad.first {
        say(&format!("line {line} is no reading: {reason}"));
    }
    let others = bad.count - bad.first.len() as u64;
    if others > 0 {
        say(&format!("{others} further lines are no readings"));
    }
}

/// Says that the run was interrupted.
pub fn interrupted() -> ExitCode {
    say("interrupted; the same command goes on where it was");
    ExitCode::from(INTERRUPTED)
}

/// Says what went wrong.
pub fn failure(error: &Error) -> ExitCode {
    say(&format!("error: {error}"));
    ExitCode::FAILURE
}

fn say(text: &str) {
    // stderr is closed: there is nowhere to report it.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    let header = header.iter().enumerate();
    let header = header.map(|(column, name)| match column {
        0 => Cell::new(name),
        _ => right((*name).to_owned()),
    });
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
