//! The `ensue` command: look into a log, publish, redrive, check.
//!
//! In reading order: `cli` takes the command line apart, `commands` holds one file per command,
//! `target` opens the engine they talk to, `output` is the only way to stdout and `failure` the
//! only way to stderr.

mod cli;

mod args;
mod commands;
mod failure;
mod human;
mod output;
mod payload;
mod supervisor;
mod target;
mod telemetry;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
