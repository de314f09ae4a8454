//! Measures Ensue beside the machine's limit.
//!
//! - `cargo run --release -p bench -- log`: the log, beside the raw disk, memory and other
//!   embedded stores. `docs/benchmarks.md` says what is measured and how.
//! - `cargo run --release -p bench -- dispatch`: how fast services drain a backlog, beside how fast
//!   the same payloads are decoded in a plain loop on one core.
//! - `cargo run --release -p bench -- server`: the HTTP server, beside the publisher of a program that
//!   holds the log, a bare handler, and NATS JetStream.
//! - `cargo run --release -p bench -- data`: projections, aggregates, the outbox and the cache, beside the same
//!   without Ensue.
//! - `cargo run --release -p bench -- telemetry`: the server and an app with traces that are sent, beside
//!   the same without. `docs/benchmarks.md` says what is measured.
//! - `cargo run --release -p bench -- engines`: the distributed engines, beside the client crates
//!   that they use. `docs/engines.md` says what is measured and why.

mod data;
mod dispatch;
mod engines;
mod load;
mod log;
mod meter;
mod server;

use clap::{Parser, Subcommand};

/// What a measurement gives: errors may come from any thread.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
#[command(about = "Measures Ensue beside the machine's limit")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The log: appends, batches, scans, opening, latency, memory, and other embedded stores
    Log(log::Args),
    /// Typed dispatch of a backlog: JSON, one service, commits included
    Dispatch(dispatch::Args),
    /// The distributed engines beside their client crates: publishing, consuming, latency
    Engines(engines::Args),
    /// The HTTP server: durable ingest, reading, idle streams
    Server(server::Args),
    /// Projections, aggregates, outbox and cache beside the same without Ensue
    Data(data::Args),
    /// What telemetry costs: appending, handling and the HTTP server with it and without
    Telemetry(server::telemetry::Args),
    /// What `log` runs in a process of its own
    #[command(hide = true)]
    Part {
        /// Which part
        name: String,
        /// What it is told, as JSON
        job: String,
    },
}

fn main() -> Outcome<()> {
    match Cli::parse().what {
        What::Log(args) => log::run(&args),
        What::Dispatch(args) => dispatch::run(&args),
        What::Engines(args) => engines::run(&args),
        What::Server(args) => server::run(&args),
        What::Data(args) => data::run(&args),
        What::Telemetry(args) => server::telemetry::run(&args),
        What::Part { name, job } => log::run_part(&name, &job),
    }
}
