//! The one place that writes to the terminal.

use std::io::{self, Write};
use std::process::ExitCode;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::replay::{Attempts, ReplayError};

/// Sends what the framework has to say to stderr; `RUST_LOG` decides how much.
pub fn init_tracing() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
}

/// Prints one JSON object.
///
/// # Errors
/// When stdout is closed.
pub fn json(report: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, report)?;
    writeln!(out)
}

/// Prints what a recording held as a table.
///
/// # Errors
/// When stdout is closed.
pub fn attempts(attempts: &Attempts) -> io::Result<()> {
    let mut table = new_table(["log-ins", ""]);
    for (name, value) in [
        ("failed passwords", attempts.failed),
        ("accepted", attempts.accepted),
        ("attempts, both", attempts.attempts),
        ("invalid users", attempts.invalid_user),
        ("addresses", attempts.addresses),
        ("addresses blocked", attempts.blocked.len() as u64),
    ] {
        table.add_row([Cell::new(name), right(value.to_string())]);
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{table}")?;
    for address in &attempts.blocked {
        writeln!(out, "blocked {address}")?;
    }
    Ok(())
}

/// Says what went wrong.
pub fn failure(error: &ReplayError) -> ExitCode {
    // stderr is closed: there is nowhere to report it.
    let _ = writeln!(io::stderr().lock(), "error: {error}");
    ExitCode::FAILURE
}

fn new_table(header: [&str; 2]) -> Table {
    let mut table = Table::new();
    let [name, value] = header;
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_header([Cell::new(name), right(value.to_owned())]);
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
