//! The one place that writes to the terminal.

use std::io::{self, Write};
use std::process::ExitCode;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::check::Checked;
use crate::error::Error;
use crate::load::Loaded;
use crate::replay::Attempts;
use crate::run::Report;

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

/// Prints a report as tables.
///
/// # Errors
/// When stdout is closed.
pub fn table(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match report {
        Report::Replayed(replayed) => attempts(&mut out, replayed),
        Report::Checked { log, is_view_equal } => {
            writeln!(
                out,
                "{}
{}",
                events(log),
                never(log, *is_view_equal, None)
            )
        }
        Report::Loaded(loaded) => load(&mut out, loaded),
        Report::Whole {
            loaded,
            log,
            is_view_equal,
            profiles,
        } => {
            writeln!(out, "{}", events(log))?;
            load(&mut out, loaded)?;
            writeln!(out, "{profiles} profiles are published")?;
            writeln!(out, "{}", never(log, *is_view_equal, Some(loaded)))
        }
        Report::Stopped => Ok(()),
    }
}

fn attempts(out: &mut impl Write, attempts: &Attempts) -> io::Result<()> {
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
    writeln!(out, "{table}")?;
    for address in &attempts.blocked {
        writeln!(out, "blocked {address}")?;
    }
    Ok(())
}

fn events(checked: &Checked) -> Table {
    let mut table = new_table(["event", "count"]);
    for (kind, count) in &checked.events {
        table.add_row([Cell::new(kind), right(count.to_string())]);
    }
    table
}

fn load(out: &mut impl Write, loaded: &Loaded) -> io::Result<()> {
    let mut table = new_table(["made-up users", ""]);
    for (name, value) in [
        ("users", loaded.users.to_string()),
        ("of them registered twice at once", loaded.raced.to_string()),
        ("requests over HTTPS", loaded.requests.to_string()),
        ("sent again", loaded.retries.to_string()),
        ("ms for a request, p50", format!("{:.1}", loaded.p50_ms)),
        ("ms for a request, p99", format!("{:.1}", loaded.p99_ms)),
        ("seconds", format!("{:.2}", loaded.seconds)),
        (
            "requests per second",
            format!("{:.0}", loaded.requests_per_second),
        ),
    ] {
        table.add_row([Cell::new(name), right(value)]);
    }
    writeln!(out, "{table}")?;
    for lost in &loaded.lost {
        writeln!(out, "lost: {lost}")?;
    }
    Ok(())
}

/// What must be zero; where users were made up, also what they miss.
fn never(checked: &Checked, is_view_equal: bool, loaded: Option<&Loaded>) -> Table {
    let mut table = new_table(["what must never be", "count"]);
    let lost = loaded.map(|it| ("promises to users that are lost", it.lost.len() as u64));
    let rows = [
        ("users twice", checked.twice),
        ("sessions without a user", checked.sessions_without_user),
        (
            "forgotten users of whom something can be read",
            checked.readable,
        ),
        ("dead letters", checked.dead_letters),
        (
            "views unlike the fold of the log",
            u64::from(!is_view_equal),
        ),
    ];
    for (name, count) in rows.into_iter().chain(lost) {
        table.add_row([Cell::new(name), right(count.to_string())]);
    }
    table
}

/// Says that an engine does not answer yet. Its URL may have a password: only what comes before it is said.
pub fn waiting(url: &str) {
    let scheme = url.split("://").next().unwrap_or_default();
    // stderr is closed: there is nowhere to report it.
    let _ = writeln!(
        io::stderr().lock(),
        "waiting for the engine ({scheme}://…), which does not answer; it is tried again until its connect_timeout"
    );
}

/// Says what went wrong.
pub fn failure(error: &Error) -> ExitCode {
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
