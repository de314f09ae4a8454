//! The `accounts` command.

use std::process::ExitCode;

use accounts::cli::Args;
use accounts::{replay, report};
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    report::init_tracing();
    let replayed = match replay::replay(&args.replay, args.engine.as_deref()).await {
        Ok(replayed) => replayed,
        Err(error) => return report::failure(&error),
    };
    let reported = if args.json {
        report::json(&replayed)
    } else {
        report::attempts(&replayed)
    };
    match reported {
        Ok(()) => ExitCode::SUCCESS,
        // The output is closed: there is nowhere to report it.
        Err(_) => ExitCode::FAILURE,
    }
}
