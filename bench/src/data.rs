//! `cargo run --release -p bench -- data`: what is built on the log, beside the same without Ensue.
//!
//! - Projections: rows into SQLite, PostgreSQL and MariaDB, beside the same statements with the same rows in a
//!   loop of their own.
//! - Aggregates: decisions, beside the same events as bare conditional appends, a table of events in
//!   PostgreSQL, and UmaDB.
//! - The outbox: how fast a relay empties it, beside a loop that promises nothing; how long a row waits.
//! - The cache: what is found in this process, beside moka alone.
//!
//! Everything is durable on both sides, as the servers come from `cargo xtask services`. Both sides take turns
//! within a round, and are first in turn.

mod aggregates;
mod cache;
mod databases;
mod deposits;
mod event_table;
mod orders;
mod outbox;
mod projections;
mod report;
mod sample;
mod umadb;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ensue_sql::sqlx::{MySql, Postgres, Sqlite};
use servers::Running;

use self::databases::Kind;
use self::report::Report;
use self::sample::Sample;
use crate::Outcome;
use crate::log::machine::Machine;
use crate::log::report::Printing;

const ROUNDS: usize = 5;
const ROUNDS_QUICK: usize = 1;
/// The servers that it is measured on and beside.
const SERVERS: [&str; 3] = ["postgres", "mariadb", "umadb"];

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    printing: Printing,
    /// One short round: says whether it works
    #[arg(long)]
    quick: bool,
    /// Only these parts; all of them otherwise
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Only these databases, for projections and the outbox: sqlite, postgres, mysql
    #[arg(long, value_delimiter = ',')]
    databases: Vec<String>,
    /// Rounds
    #[arg(long)]
    rounds: Option<usize>,
    /// A file with the servers, as `cargo xtask services status --json` prints it; SQLite needs none
    #[arg(long, env = "ENSUE_SERVICES")]
    services: Option<PathBuf>,
    /// Where the logs and SQLite's files are
    #[arg(long, default_value = "target/bench")]
    directory: PathBuf,
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Projections,
    Aggregates,
    Outbox,
    Cache,
}

/// How much is done.
#[derive(Clone, Copy)]
struct Extent {
    /// Rows of a projection.
    rows: usize,
    /// Rows of a projection that are written one by one.
    single_rows: usize,
    /// How long commands are given.
    commands: Duration,
    /// Rows of an outbox.
    outbox_rows: usize,
    /// Rows of an outbox whose wait is measured.
    waits: usize,
    /// Look-ups in a cache, by each thread.
    lookups: usize,
}

impl Extent {
    const FULL: Self = Self {
        rows: 200_000,
        single_rows: 20_000,
        commands: Duration::from_secs(3),
        outbox_rows: 50_000,
        waits: 200,
        lookups: 5_000_000,
    };
    const QUICK: Self = Self {
        rows: 5_000,
        single_rows: 1_000,
        commands: Duration::from_millis(200),
        outbox_rows: 2_000,
        waits: 10,
        lookups: 100_000,
    };
}

pub(crate) fn run(args: &Args) -> Outcome<()> {
    let begun = Instant::now();
    std::fs::create_dir_all(&args.directory)?;
    let directory = tempfile::tempdir_in(args.directory.canonicalize()?)?;
    let scene = Scene {
        servers: match &args.services {
            Some(services) => Running::all(services)?,
            None => Vec::new(),
        },
        place: directory.path().to_owned(),
        only: args.only.clone(),
        databases: args.databases.clone(),
        extent: if args.quick {
            Extent::QUICK
        } else {
            Extent::FULL
        },
    };
    let machine = Machine::look(directory.path(), &["sqlx", "tokio-postgres", "moka"]);
    let rounds = args
        .rounds
        .unwrap_or(if args.quick { ROUNDS_QUICK } else { ROUNDS });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let measuring = scene.rounds(rounds, begun);
    // On the runtime's own threads, as programs are.
    let measured = runtime.block_on(async { tokio::spawn(measuring).await })??;
    let (servers, missing): (Vec<_>, Vec<_>) = SERVERS
        .iter()
        .map(|name| (*name, measured.version_of(name)))
        .partition(|(_, version)| version.is_some());
    let named = |(name, version): &(&str, Option<String>)| {
        format!("{name} {}", version.clone().unwrap_or_default())
    };
    let report = Report {
        machine,
        servers: servers.iter().map(named).collect(),
        missing: missing.iter().map(|(name, _)| (*name).to_owned()).collect(),
        quick: args.quick,
        rounds,
        seconds: begun.elapsed().as_secs_f64(),
        rows: report::rows(&measured.rounds),
    };
    args.printing.print(&report, |style| report.render(style))
}

/// What all rounds have in common.
struct Scene {
    servers: Vec<Running>,
    place: PathBuf,
    only: Vec<Part>,
    databases: Vec<String>,
    extent: Extent,
}

struct Measured {
    rounds: Vec<Vec<Sample>>,
    servers: Vec<Running>,
}

impl Measured {
    fn version_of(&self, server: &str) -> Option<String> {
        let running = self.servers.iter().find(|it| it.name == server)?;
        Some(running.version.clone())
    }
}

impl Scene {
    async fn rounds(self, count: usize, begun: Instant) -> Outcome<Measured> {
        let mut rounds = Vec::new();
        for number in 0..count {
            let seconds = begun.elapsed().as_secs();
            eprintln!("[{seconds} s] round {}", number + 1);
            let directory = tempfile::tempdir_in(&self.place)?;
            rounds.push(self.round(number, directory.path()).await?);
        }
        Ok(Measured {
            rounds,
            servers: self.servers,
        })
    }

    /// Who is first in it depends on its number.
    async fn round(&self, number: usize, place: &Path) -> Outcome<Vec<Sample>> {
        let mut samples = Vec::new();
        let is_turned = number % 2 == 1;
        self.on::<Sqlite>(place, is_turned, &mut samples).await?;
        self.on::<Postgres>(place, is_turned, &mut samples).await?;
        self.on::<MySql>(place, is_turned, &mut samples).await?;
        if self.has(Part::Aggregates) {
            let url = |name| self.url_of(name).map(str::to_owned);
            let peers = aggregates::Peers {
                postgres: url("postgres"),
                umadb: url("umadb"),
            };
            samples.extend(aggregates::measure(place, &peers, self.extent.commands).await?);
        }
        if self.has(Part::Cache) {
            samples.extend(cache::measure(self.extent.lookups, is_turned).await?);
        }
        Ok(samples)
    }

    async fn on<DB: Kind>(
        &self,
        place: &Path,
        is_turned: bool,
        samples: &mut Vec<Sample>,
    ) -> Outcome<()> {
        let is_wanted = self.databases.is_empty() || self.databases.iter().any(|it| it == DB::KIND);
        let has_server = DB::SERVER.is_none_or(|name| self.url_of(name).is_some());
        if !is_wanted || !has_server {
            return Ok(());
        }
        let server = DB::SERVER.and_then(|name| self.url_of(name));
        if self.has(Part::Projections) {
            samples
                .extend(projections::measure::<DB>(place, server, self.extent, is_turned).await?);
        }
        if self.has(Part::Outbox) {
            samples.extend(outbox::measure::<DB>(place, server, self.extent, is_turned).await?);
        }
        Ok(())
    }

    fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn url_of(&self, server: &str) -> Option<&str> {
        let running = self.servers.iter().find(|it| it.name == server)?;
        Some(&running.url)
    }
}
