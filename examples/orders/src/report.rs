//! The one place that writes to the terminal.

use std::io::{self, Write};
use std::process::ExitCode;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use tracing_subscriber::EnvFilter;

use crate::error::Error;
use crate::events::LIFE;
use crate::summary::Summary;

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

/// Prints a summary as one JSON object.
///
/// # Errors
/// When stdout is closed.
pub fn json(summary: &Summary) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, summary)?;
    writeln!(out)
}

/// Prints a summary as a table, and what to look at next.
///
/// # Errors
/// When stdout is closed.
pub fn table(summary: &Summary, engine: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", events(summary))?;
    writeln!(out, "{}", outcome(summary))?;
    writeln!(out, "\nRun it again: nothing is added.")?;
    // Only these URLs are surely free of passwords.
    if engine.starts_with("embedded:") {
        let ensue = format!("cargo run --release -p ensue-cli -- --engine {engine}");
        writeln!(out, "Look into the log: {ensue} status")?;
        if summary.dead_letters > 0 {
            writeln!(out, "See what failed: {ensue} dead list")?;
        }
    }
    Ok(())
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

fn events(summary: &Summary) -> Table {
    let mut table = new_table(["event", "count"]);
    for kind in LIFE {
        let count = summary.events.get(kind).copied().unwrap_or_default();
        table.add_row([Cell::new(kind), number(count)]);
    }
    table
}

fn outcome(summary: &Summary) -> Table {
    let mut table = new_table(["outcome", ""]);
    for (name, value) in [
        ("orders", number(summary.orders)),
        ("charged", number(summary.charged)),
        ("charged twice", number(summary.charged_twice)),
        ("out of order", number(summary.out_of_order)),
        ("dead letters", number(summary.dead_letters)),
        ("retries, this run", number(summary.retries)),
        (
            "seconds, this run",
            right(format!("{:.2}", summary.seconds)),
        ),
        (
            "events per second",
            right(format!("{:.0}", summary.events_per_second)),
        ),
    ] {
        table.add_row([Cell::new(name), value]);
    }
    table
}

fn new_table(header: [&str; 2]) -> Table {
    let mut table = Table::new();
    let [name, value] = header;
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_header([Cell::new(name), right(value.to_owned())]);
    table
}

fn number(value: u64) -> Cell {
    right(value.to_string())
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
