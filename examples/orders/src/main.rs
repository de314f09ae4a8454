//! The `orders` command.

use std::process::ExitCode;

use clap::Parser;
use orders::cli::Args;
use orders::report;
use orders::run::{Ended, run};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    report::init_tracing();
    let reported = match run(&args).await {
        Ok(Ended::AtRest(summary)) if args.json => report::json(&summary),
        Ok(Ended::AtRest(summary)) => report::table(&summary, &args.engine()),
        Ok(Ended::Placed | Ended::Stopped) => return ExitCode::SUCCESS,
        Ok(Ended::Interrupted) => return report::interrupted(),
        Err(error) => return report::failure(&error),
    };
    match reported {
        Ok(()) => ExitCode::SUCCESS,
        // The output is closed: there is nowhere to report it.
        Err(_) => ExitCode::FAILURE,
    }
}
