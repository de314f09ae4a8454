//! `cargo run --release -p bench -- log`: the log beside what the machine can do.
//!
//! Every row measures the limit and ours in the same rounds, in fresh directories, and verifies
//! what it wrote; a row whose limit does not hold still is measured again, and void in the end.

mod append;
mod latency;
pub(crate) mod machine;
mod measure;
pub(crate) mod memory;
mod open;
mod part;
mod payload;
mod peers;
mod raw;
mod read;
pub(crate) mod report;
mod row;
pub(crate) mod statistics;

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::machine::Machine;
use self::payload::Payloads;
use self::raw::Raw;
use self::report::{Printing, Report};
use self::row::{Bench, Row, Sample};
use crate::{Outcome, dispatch};

const RAW_BYTES: u64 = 256 * 1024 * 1024;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    printing: Printing,
    /// At most two minutes: short rounds, fewer of them, smaller backlogs
    #[arg(long)]
    quick: bool,
    /// Only these groups (append, batch, os, peers, scan, key, disk, open, latency, dispatch,
    /// memory), or rows whose names hold these words
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Where to write; must be on the disk that is measured
    #[arg(long, default_value = "target/bench")]
    directory: PathBuf,
    /// Events in the backlog whose memory is watched
    #[arg(long, default_value_t = 2_000_000)]
    backlog_events: u64,
}

pub(crate) fn run(args: &Args) -> Outcome<()> {
    let begun = Instant::now();
    std::fs::create_dir_all(&args.directory)?;
    let directory = tempfile::tempdir_in(args.directory.canonicalize()?)?;
    let machine = Machine::look(directory.path(), &peers::names());
    if machine.filesystem == "tmpfs" {
        return Err("the directory is in memory; choose another with --directory".into());
    }
    let rows: Vec<Row> = rows(args.quick)
        .into_iter()
        .filter(|row| is_wanted(row, &args.only))
        .collect();
    if rows.is_empty() {
        return Err("no row has such a name".into());
    }
    let bench = Bench {
        is_quick: args.quick,
        raw: Raw::new(directory.path(), RAW_BYTES)?,
        directory,
        payloads: Payloads::new(),
        span: Duration::from_millis(if args.quick { 150 } else { 1000 }),
        rounds: if args.quick { 2 } else { 5 },
        backlog_events: if args.quick {
            args.backlog_events.min(200_000)
        } else {
            args.backlog_events
        },
        repeat_until: begun + Duration::from_secs(if args.quick { 45 } else { 15 * 60 }),
        peak: Cell::new(None),
    };
    let mut measured = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let seconds = begun.elapsed().as_secs();
        eprintln!("[{}/{}, {seconds} s] {}", index + 1, rows.len(), row.name);
        measured.push(measure::measure(&bench, row));
    }
    let report = Report {
        machine,
        quick: args.quick,
        rounds: bench.rounds,
        seconds: begun.elapsed().as_secs_f64(),
        rows: measured,
    };
    args.printing.print(&report, |style| report.render(style))?;
    // A restless machine voids rows; only what is wrong fails the run.
    match report.rows.iter().find(|row| row.has_failed) {
        Some(row) => Err(format!("{} could not be measured", row.name).into()),
        None => Ok(()),
    }
}

/// The child's side of what runs in a process of its own.
pub(crate) fn run_part(name: &str, job: &str) -> Outcome<()> {
    match name {
        <peers::Job as part::Job>::NAME => part::serve(job, peers::serve),
        <open::Fill as part::Job>::NAME => part::serve(job, open::serve),
        <memory::Job as part::Job>::NAME => part::serve(job, memory::serve),
        _ => Err(format!("there is no part {name}").into()),
    }
}

/// Every row, in the order in which they are measured.
fn rows(is_quick: bool) -> Vec<Row> {
    let mut rows = append::rows();
    rows.extend(peers::rows());
    rows.extend(read::rows());
    rows.extend(open::rows(is_quick));
    rows.extend(latency::rows());
    rows.push(dispatch_row());
    rows.push(memory::row());
    rows
}

fn is_wanted(row: &Row, only: &[String]) -> bool {
    let fits = |word: &String| row.group == word || row.name.contains(word.as_str());
    only.is_empty() || only.iter().any(fits)
}

/// What `bench dispatch` measures, beside the rest.
fn dispatch_row() -> Row {
    let name = "typed dispatch of a backlog, JSON";
    let limit = "decoding alone, one core";
    let measure = |bench: &Bench| {
        let events = if bench.is_quick { 100_000 } else { 1_000_000 };
        let directory = bench.fresh()?;
        let (ours, limit) = dispatch::drain_once(events, directory.path())?;
        Ok(Sample {
            ours,
            limits: vec![limit],
            details: Vec::new(),
        })
    };
    Row::new("dispatch", name, "events/s", limit, measure).rounds_max(3)
}
