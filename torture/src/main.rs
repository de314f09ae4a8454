//! `cargo run --release -p torture -- kill`: processes that use an embedded engine are killed at
//! random instants, and everything that they were promised is looked for afterwards.
//! `-- stops`: handlers misbehave in every way, and groups that stopped in silence are looked for.

mod kill;
mod stops;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Attacks Ensue and checks what is left
#[derive(Debug, Parser)]
#[command(name = "torture")]
struct Cli {
    #[command(subcommand)]
    attack: Attack,
}

#[derive(Debug, Subcommand)]
enum Attack {
    Kill(kill::Kill),
    Stops(stops::Stops),
    /// The process that is killed; reads what it is to do from its input
    #[command(hide = true)]
    KillChild,
}

fn main() -> ExitCode {
    match Cli::parse().attack {
        Attack::Kill(kill) => kill.run(),
        Attack::Stops(stops) => stops.run(),
        Attack::KillChild => kill::child(),
    }
}
