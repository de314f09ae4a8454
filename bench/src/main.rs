//! `cargo run --release -p bench -- dispatch`: how fast services drain a backlog, beside how fast
//! the same payloads are decoded in a plain loop on one core.

mod dispatch;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures Ensue beside the machine's limit")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Typed dispatch of a backlog: JSON, one service, commits included
    Dispatch(dispatch::Args),
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Cli::parse().what {
        What::Dispatch(args) => dispatch::run(&args),
    }
}
