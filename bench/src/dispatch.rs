//! Typed dispatch of a backlog, commits included: handlers that only read, and handlers that publish one effect
//! for each event.

mod backlog;
mod effects;
mod table;

use std::path::Path;

use comfy_table::Table;
use serde_json::json;

use self::effects::Handled;
use crate::Outcome;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Events in the backlog
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Different keys
    #[arg(long, default_value_t = 10_000)]
    keys: u64,
    /// Runs; the median is what counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Tasks per service; 0 is one per core
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// The engine; without it a new directory for each run
    #[arg(long)]
    engine: Option<String>,
    /// Each event is handled and one effect published, beside a table in SQLite
    #[arg(long)]
    effects: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome<()> {
    if args.effects {
        return run_effects(args);
    }
    let runtime = runtime()?;
    let decoded = backlog::decode_alone(args.events)?;
    let mut rates = Vec::new();
    for _ in 0..args.runs {
        let directory = tempfile::tempdir()?;
        let url = url(args, directory.path());
        rates.push(runtime.block_on(backlog::drain(args, &url))?);
    }
    let median = median(&mut rates);
    let ratio = median / decoded;
    if args.json {
        let result = json!({
            "events": args.events, "events_per_second": median, "runs": rates,
            "decode_alone_per_second": decoded, "ratio": ratio,
        });
        println!("{result}");
    } else {
        println!("decode alone, one core   {decoded:>12.0} events/s");
        println!("typed dispatch, median   {median:>12.0} events/s   {ratio:.2} of it");
        println!("runs                     {rates:.0?}");
    }
    Ok(())
}

/// Takes turns, so that both meet the same machine.
fn run_effects(args: &Args) -> Outcome<()> {
    let runtime = runtime()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..args.runs {
        let directory = tempfile::tempdir()?;
        let url = url(args, directory.path());
        ours.push(runtime.block_on(effects::handle_and_publish(args, &url))?);
        theirs.push(table::handle_and_publish(args, directory.path())?);
    }
    let rows = [
        ("Ensue", Handled::median(ours)),
        ("a table in SQLite", Handled::median(theirs)),
    ];
    if args.json {
        let row = |(name, row): &(&str, Handled)| json!({ "name": name, "handled": row });
        let rows: Vec<_> = rows.iter().map(row).collect();
        println!("{}", json!({ "events": args.events, "rows": rows }));
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header([
        "",
        "publish, events/s",
        "CPU, µs each",
        "handle + publish, events/s",
        "CPU, µs each",
    ]);
    for (name, row) in rows {
        table.add_row([
            name.to_owned(),
            format!("{:.0}", row.published.rate),
            format!("{:.2}", row.published.cpu_us),
            format!("{:.0}", row.handled.rate),
            format!("{:.2}", row.handled.cpu_us),
        ]);
    }
    println!("{table}");
    Ok(())
}

/// Drains one backlog from a new log below `directory`: the events a second, and how many a second
/// are decoded alone.
pub(crate) fn drain_once(events: u64, directory: &Path) -> Outcome<(f64, f64)> {
    let args = Args {
        events,
        keys: 10_000,
        runs: 1,
        workers: 0,
        engine: None,
        effects: false,
        json: false,
    };
    let decoded = backlog::decode_alone(events)?;
    let drained = runtime()?.block_on(backlog::drain(&args, &url(&args, directory)))?;
    Ok((drained, decoded))
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.enable_all().build()?)
}

fn url(args: &Args, directory: &Path) -> String {
    let own = || format!("embedded:{}", directory.join("log").display());
    args.engine.clone().unwrap_or_else(own)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
