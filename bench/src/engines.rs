//! `cargo run --release -p bench -- engines`: each distributed engine beside the client crate that
//! it uses, doing the same work on the same server.
//!
//! Both sides take turns in every round, on streams that are new, and read back what they wrote. A
//! message of the client's holds the encoded events of a whole batch, as the engine's do: the bytes
//! and the batching are the same, and so is what the server does to make them durable.

mod events;
mod ours;
mod raw;
mod report;
mod round;
mod row;
mod theirs;

use std::path::PathBuf;
use std::time::Instant;

use servers::Running;

use self::raw::{KINDS, Kind};
use self::report::Report;
use self::round::Extent;
use crate::Outcome;
use crate::log::machine::Machine;
use crate::log::report::Printing;

/// Appends that are on their way at once.
const IN_FLIGHT: usize = 16;
/// Events of one commit.
const COMMIT_EVENTS: usize = 1_000;
/// The share of single events that are not timed.
const WARM_UP: f64 = 0.1;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    printing: Printing,
    /// Two short rounds: says whether it works
    #[arg(long)]
    quick: bool,
    /// Only these engines: redis, nats, postgres, rabbitmq, kafka
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// A file with the servers, as `cargo xtask services status --json` prints it
    #[arg(long, env = "ENSUE_SERVICES")]
    services: PathBuf,
    /// Where the engines keep their copies
    #[arg(long, default_value = "target/bench")]
    directory: PathBuf,
    /// Events that are published and consumed in a round
    #[arg(long)]
    events: Option<usize>,
}

pub(crate) fn run(args: &Args) -> Outcome<()> {
    let begun = Instant::now();
    let extent = Extent {
        events: args
            .events
            .unwrap_or(if args.quick { 10_000 } else { 100_000 }),
        ..if args.quick {
            Extent::QUICK
        } else {
            Extent::FULL
        }
    };
    if extent.events == 0 {
        return Err("there must be events".into());
    }
    std::fs::create_dir_all(&args.directory)?;
    let directory = tempfile::tempdir_in(args.directory.canonicalize()?)?;
    let services = Running::all(&args.services)?;
    let (found, missing) = choose(&args.only, &services)?;
    let clients: Vec<&'static str> = found.iter().map(|(kind, _)| kind.client).collect();
    let machine = Machine::look(directory.path(), &clients);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    let mut servers = Vec::new();
    for (kind, service) in found {
        let mut rounds = Vec::new();
        for number in 0..extent.rounds {
            let seconds = begun.elapsed().as_secs();
            eprintln!("[{seconds} s] {}, round {}", kind.name, number + 1);
            let place = directory.path().to_owned();
            let round = round::run(kind, service.clone(), extent, number, place);
            // On the runtime's own threads, as services are.
            match runtime.block_on(async { tokio::spawn(round).await })? {
                Ok(samples) => rounds.push(samples),
                Err(error) => {
                    failed.push(format!("{}: {error}", kind.name));
                    break;
                }
            }
        }
        servers.push((kind.name, service.version.clone()));
        rows.extend(row::rows(kind.name, &rounds));
    }
    let report = Report {
        machine,
        servers,
        missing,
        extent,
        quick: args.quick,
        seconds: begun.elapsed().as_secs_f64(),
        rows,
        failed,
    };
    args.printing.print(&report, |style| report.render(style))?;
    match report.failed.first() {
        Some(failure) => Err(failure.clone().into()),
        None => Ok(()),
    }
}

type Found = Vec<(&'static Kind, Running)>;

/// The engines to measure, each with its server, and those that have none.
fn choose(only: &[String], services: &[Running]) -> Outcome<(Found, Vec<&'static str>)> {
    if let Some(unknown) = only.iter().find(|it| !KINDS.iter().any(|k| k.name == **it)) {
        return Err(format!("there is no engine `{unknown}`").into());
    }
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for kind in &KINDS {
        if !only.is_empty() && !only.iter().any(|name| name == kind.name) {
            continue;
        }
        match services.iter().find(|it| it.name == kind.name) {
            Some(service) => found.push((kind, service.clone())),
            None => missing.push(kind.name),
        }
    }
    if found.is_empty() {
        Err("none of the engines has a server that runs".into())
    } else {
        Ok((found, missing))
    }
}
