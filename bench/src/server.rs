//! `cargo run --release -p bench -- server`: the server over HTTP and gRPC, beside what it stands on and
//! beside what is used in its place.
//!
//! Clients and server are one process, on the same cores, and so are both sides of everything that they
//! are compared to but NATS and Restate. All take turns in every round. Every event is on stable storage before its
//! receipt, but for those of the bare handler, which forgets them.

#![allow(clippy::disallowed_types, reason = "it speaks HTTP by hand")]

mod bare;
mod connection;
mod consume;
mod idle;
mod ingest;
mod reads;
mod report;
mod restate;
pub(crate) mod telemetry;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use ensue::Engine;
use ensue_server::{Config, Server};
use servers::Running;

use self::bare::Bare;
use self::idle::Idle;
use self::ingest::{ByPublisher, Numbers, OverHttp, OverNats};
use self::reads::Reader;
use self::report::{Peer, Report, Sample, Work};
use self::restate::Restate;
use crate::Outcome;
use crate::load::{self, Load};
use crate::log::machine::Machine;
use crate::log::report::Printing;

const ROUNDS: usize = 5;
const ROUNDS_QUICK: usize = 1;
/// Connections at once, or publishers, or publishes on their way.
const CONNECTIONS: [usize; 3] = [1, 16, 256];
const BATCH: usize = 100;
const READERS: [usize; 2] = [1, 16];
const IDLE_STREAMS: usize = 10_000;
/// What groups consume: more than a service can in one turn.
const BACKLOG: u64 = 4_000_000;
const BACKLOG_QUICK: u64 = 200_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    printing: Printing,
    /// One short round: says whether it works
    #[arg(long)]
    quick: bool,
    /// How long each side of each comparison runs in a round, in seconds
    #[arg(long)]
    seconds: Option<f64>,
    /// Only this part; all of them otherwise
    #[arg(long)]
    only: Option<Part>,
    /// A file with the servers, as `cargo xtask services status --json` prints it: for NATS and Restate
    #[arg(long, env = "ENSUE_SERVICES")]
    services: Option<PathBuf>,
    /// Where the log is
    #[arg(long, default_value = "target/bench")]
    directory: PathBuf,
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Single,
    Batches,
    Consuming,
    Pages,
    /// Memory under streams on which nothing happens.
    Idle,
}

/// Which parts, how long each side of them, and how often.
#[derive(Clone, Copy)]
struct Plan {
    only: Option<Part>,
    time: Duration,
    quick: bool,
}

impl Plan {
    fn has(self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

impl Args {
    fn plan(&self) -> Plan {
        Plan {
            only: self.only,
            time: self.time(),
            quick: self.quick,
        }
    }

    fn time(&self) -> Duration {
        let seconds = self.seconds.unwrap_or(if self.quick { 0.2 } else { 2.0 });
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(2))
    }

    /// Servers that run of those that are measured beside ours.
    fn others(&self) -> Outcome<Vec<Running>> {
        let Some(services) = &self.services else {
            return Ok(Vec::new());
        };
        let all = Running::all(services)?;
        let is_measured = |it: &Running| ["nats", "restate"].contains(&it.name.as_str());
        Ok(all.into_iter().filter(is_measured).collect())
    }
}

pub(crate) fn run(args: &Args) -> Outcome<()> {
    let begun = Instant::now();
    std::fs::create_dir_all(&args.directory)?;
    let directory = tempfile::tempdir_in(args.directory.canonicalize()?)?;
    let others = args.others()?;
    let clients: &[&'static str] = if others.iter().any(|it| it.name == "nats") {
        &["async-nats"]
    } else {
        &[]
    };
    let machine = Machine::look(directory.path(), clients);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let url = format!("embedded:{}", directory.path().join("log").display());
    let measuring = measure(url, args.plan(), others.clone(), begun);
    // On the runtime's own threads, as servers are.
    let (rounds, idle) = runtime.block_on(async { tokio::spawn(measuring).await })??;
    let named = |it: &Running| format!("{} {}", it.name, it.version);
    let report = Report::new(
        machine,
        others.iter().map(named).collect(),
        &rounds,
        idle,
        begun.elapsed(),
    );
    args.printing.print(&report, |style| report.render(style))
}

type Rounds = Vec<Vec<Sample>>;

async fn measure(
    url: String,
    plan: Plan,
    others: Vec<Running>,
    begun: Instant,
) -> Outcome<(Rounds, Idle)> {
    let streams = match plan {
        plan if !plan.has(Part::Idle) => 0,
        plan if plan.quick => idle::allowed(100),
        _ => idle::allowed(IDLE_STREAMS),
    };
    let engine = Engine::open(&url).await?;
    let mut config = Config::default();
    config.limits.streams_max = streams + 1;
    config.limits.connections_max = u32::try_from(streams + 1_000)?;
    let server = Server::new(engine.clone()).config(config);
    let server = server.listen("127.0.0.1:0")?.start().await?;
    let address = server.address();
    let running = |name| others.iter().find(|it: &&Running| it.name == name);
    let scene = Scene {
        remote: Engine::open(&format!("ensue://{address}")).await?,
        engine: engine.clone(),
        address,
        nats: match running("nats") {
            Some(nats) => Some(Nats::connect(&nats.url).await?),
            None => None,
        },
        restate: match running("restate") {
            Some(restate) => Some(Restate::register(restate).await?),
            None => None,
        },
        numbers: Numbers::default(),
        backlog: match plan {
            // Pages are read behind it.
            plan if !plan.has(Part::Consuming) && !plan.has(Part::Pages) => 0,
            plan if plan.quick => BACKLOG_QUICK,
            _ => BACKLOG,
        },
        plan,
    };
    consume::prepare(&engine, scene.backlog).await?;
    let mut rounds = Vec::new();
    for round in 0..if plan.quick { ROUNDS_QUICK } else { ROUNDS } {
        eprintln!("[{} s] round {}", begun.elapsed().as_secs(), round + 1);
        rounds.push(scene.round().await?);
    }
    eprintln!("[{} s] {streams} idle streams", begun.elapsed().as_secs());
    let idle = idle::measure(server.address(), streams).await?;
    if let Some(nats) = &scene.nats {
        nats.context.delete_stream(&nats.stream).await?;
    }
    scene.remote.close().await?;
    server.stop().await;
    engine.close().await?;
    Ok((rounds, idle))
}

/// A stream of NATS JetStream.
struct Nats {
    context: jetstream::Context,
    stream: String,
}

impl Nats {
    async fn connect(url: &str) -> Outcome<Self> {
        let context = jetstream::new(async_nats::connect(url).await?);
        let stream = format!("bench-server-{}", std::process::id());
        let config = jetstream::stream::Config {
            name: stream.clone(),
            subjects: vec![stream.clone()],
            ..jetstream::stream::Config::default()
        };
        context.create_stream(config).await?;
        Ok(Self { context, stream })
    }
}

/// What all rounds work with.
struct Scene {
    engine: Engine,
    /// The same, over gRPC.
    remote: Engine,
    address: SocketAddr,
    nats: Option<Nats>,
    restate: Option<Restate>,
    numbers: Numbers,
    backlog: u64,
    plan: Plan,
}

impl Scene {
    async fn round(&self) -> Outcome<Vec<Sample>> {
        let mut samples = Vec::new();
        let connections = |part| {
            let all: &[usize] = match part {
                Part::Single => &CONNECTIONS,
                _ => &READERS,
            };
            let all = if self.plan.has(part) { all } else { &[] };
            all.iter().copied()
        };
        for connections in connections(Part::Single) {
            samples.push(self.ingest(connections, 1).await?);
        }
        for connections in connections(Part::Batches) {
            samples.push(self.ingest(connections, BATCH).await?);
        }
        for connections in connections(Part::Consuming) {
            samples.push(self.consume(connections).await?);
        }
        if self.plan.only == Some(Part::Pages) {
            // What is read.
            self.over_http(self.address, "/v1/events", 1, 1).await?;
        }
        for connections in connections(Part::Pages) {
            samples.push(self.read(connections).await?);
        }
        Ok(samples)
    }

    async fn ingest(&self, connections: usize, batch: usize) -> Outcome<Sample> {
        let bare = Bare::start(bytes::Bytes::new()).await?;
        let ours = self.over_http(self.address, "/v1/events", connections, batch);
        let ours = ours.await?;
        let grpc = self.publish(&self.remote, connections, batch).await?;
        let embedded = self.publish(&self.engine, connections, batch).await?;
        let bare = self.over_http(bare.address, "/events", connections, batch);
        let bare = bare.await?;
        let mut peers = vec![
            (Peer::Grpc, grpc.rate),
            (Peer::Embedded, embedded.rate),
            (Peer::Bare, bare.rate),
        ];
        let mut work = Work::Batches;
        if batch == 1 {
            work = Work::Single;
            peers.extend(self.others(connections).await?);
        }
        Ok(Sample {
            work,
            connections,
            ours,
            peers,
        })
    }

    /// Servers that take one event at a time.
    async fn others(&self, connections: usize) -> Outcome<Vec<(Peer, f64)>> {
        let mut peers = Vec::new();
        if let Some(nats) = &self.nats {
            peers.push((Peer::Nats, self.over_nats(nats, connections).await?.rate));
        }
        if let Some(restate) = &self.restate {
            let mut workers = Vec::new();
            for _ in 0..connections {
                workers.push(restate.client(&self.numbers).await?);
            }
            peers.push((
                Peer::Restate,
                load::run(workers, self.plan.time).await?.rate,
            ));
        }
        Ok(peers)
    }

    async fn publish(&self, engine: &Engine, connections: usize, batch: usize) -> Outcome<Load> {
        let publishers = (0..connections).map(|_| ByPublisher {
            publisher: engine.publisher("/bench"),
            numbers: self.numbers.clone(),
            batch,
        });
        load::run(publishers.collect(), self.plan.time).await
    }

    async fn consume(&self, members: usize) -> Outcome<Sample> {
        let group = |who: &str| format!("{who}-{}", self.numbers.next());
        let over_http = group("http");
        let mut workers = Vec::new();
        for _ in 0..members {
            workers.push(consume::Member::join(self.address, &over_http).await?);
        }
        let ours = load::run(workers, self.plan.time).await?;
        let mut peers = Vec::new();
        for (peer, engine) in [(Peer::Grpc, &self.remote), (Peer::Embedded, &self.engine)] {
            let name = group("service");
            let rate = consume::service(engine, &name, self.backlog, self.plan.time).await?;
            peers.push((peer, rate));
        }
        Ok(Sample {
            work: Work::Consuming,
            connections: members,
            ours,
            peers,
        })
    }

    async fn over_http(
        &self,
        address: SocketAddr,
        path: &'static str,
        connections: usize,
        batch: usize,
    ) -> Outcome<Load> {
        let mut workers = Vec::new();
        for _ in 0..connections {
            workers.push(OverHttp::connect(address, path, &self.numbers, batch).await?);
        }
        load::run(workers, self.plan.time).await
    }

    async fn over_nats(&self, nats: &Nats, connections: usize) -> Outcome<Load> {
        let workers = (0..connections).map(|_| OverNats {
            context: nats.context.clone(),
            subject: nats.stream.clone(),
            numbers: self.numbers.clone(),
        });
        load::run(workers.collect(), self.plan.time).await
    }

    async fn read(&self, connections: usize) -> Outcome<Sample> {
        let page = reads::page(self.address).await?;
        let bytes = page.len();
        let bare = Bare::start(page.into()).await?;
        let ours = self.readers(self.address, reads::PAGE, connections, bytes);
        let ours = ours.await?;
        let bare = self.readers(bare.address, "/page", connections, bytes);
        let bare = bare.await?;
        Ok(Sample {
            work: Work::Pages,
            connections,
            ours,
            peers: vec![(Peer::Bare, bare.rate)],
        })
    }

    async fn readers(
        &self,
        address: SocketAddr,
        path: &str,
        connections: usize,
        bytes: usize,
    ) -> Outcome<Load> {
        let mut workers = Vec::new();
        for _ in 0..connections {
            workers.push(Reader::connect(address, path, bytes).await?);
        }
        load::run(workers, self.plan.time).await
    }
}
