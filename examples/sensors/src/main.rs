//! The `sensors` command.

use std::process::ExitCode;

use clap::Parser;
use sensors::cli::{Args, Command};
use sensors::query::query;
use sensors::report;
use sensors::run::{Ended, run};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    report::init_tracing();
    let reported = match &args.command {
        Some(Command::Query(asked)) => match query(asked).await {
            Ok(found) if asked.json => report::json(&found),
            Ok(found) => report::found(&found),
            Err(error) => return report::failure(&error),
        },
        None => match run(&args.run).await {
            Ok(Ended::Stored(summary)) if args.run.json => report::json(&summary),
            Ok(Ended::Stored(summary)) => report::table(&summary),
            Ok(Ended::Sent | Ended::Stopped) => return ExitCode::SUCCESS,
            Ok(Ended::Interrupted) => return report::interrupted(),
            Err(error) => return report::failure(&error),
        },
    };
    match reported {
        Ok(()) => ExitCode::SUCCESS,
        // The output is closed: there is nowhere to report it.
        Err(_) => ExitCode::FAILURE,
    }
}
