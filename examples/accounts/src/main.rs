//! The `accounts` command.

use std::process::ExitCode;

use accounts::cli::Args;
use accounts::report;
use accounts::run::run;
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    report::init_tracing();
    let report = match run(&args, report::waiting).await {
        Ok(report) => report,
        Err(error) => return report::failure(&error),
    };
    let reported = if args.json {
        report::json(&report)
    } else {
        report::table(&report)
    };
    // Where the output is closed, there is nowhere to report it.
    if reported.is_ok() && report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
