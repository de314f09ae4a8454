//! What the project does to itself: `cargo xtask test` runs every check there is, `cargo xtask
//! tidy` the rules of the architecture alone, `cargo xtask peers` programs that others wrote, `cargo xtask
//! torture` the attacks; `cargo xtask services` runs the brokers and databases that tests talk to.

mod binaries;
mod cargo;
mod counted;
mod deny;
mod peers;
mod say;
mod services;
mod steps;
mod test;
mod tidy;
mod torture;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs the project's checks
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check dependencies: licences, bans, sources and advisories, a part of `test`
    Dependencies {
        /// Install cargo-deny if it is missing
        #[arg(long)]
        install: bool,
    },
    Peers(peers::Peers),
    #[command(subcommand)]
    Services(services::Services),
    Test(test::Test),
    Tidy(tidy::Tidy),
    Torture(torture::Torture),
}

fn main() -> ExitCode {
    let is_good = match Cli::parse().command {
        Command::Dependencies { install } => test::dependencies_alone(install),
        Command::Peers(peers) => peers.run(),
        Command::Services(services) => services.run(),
        Command::Test(test) => test.run(),
        Command::Tidy(tidy) => tidy.run(),
        Command::Torture(torture) => torture.run(),
    };
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
