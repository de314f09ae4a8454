//! The contract suite on a server in a process of its own, by the remote engine: each crash is one of all
//! clients and a `kill -9` of the server, which is started again at its address.
//!
//! It tries the checks that have to do with crashes most; all of them with `ENSUE_KILLED=all`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ensue::engine::{Member, SharedEngine, connect_with};
use ensue::{Clock, Engine, Result};
use ensue_conformance::{BoxFuture, Check, Outcome, Storage, Subject, Terms, checks};
use futures_util::StreamExt as _;
use tempfile::TempDir;
use tokio::sync::Mutex;

/// How many checks are under way at a time, each with a server of its own.
const CHECKS_AT_A_TIME: usize = 8;
/// How long a member outlives its connection: longer than a busy machine keeps a process waiting.
const LEASE: &str = "3s";
/// How often servers have to be killed in all checks, so that they try something.
const KILLS_MIN: usize = 20;
/// What tells the process what to serve, where, and what it says before the address.
const SERVES: &str = "ENSUE_KILLED_SERVES";
const LISTENS: &str = "ENSUE_KILLED_LISTENS";
const LISTENING: &str = "listening at ";
/// What is tried unless all is.
const SOME: [&str; 15] = [
    "append_is_durable_when_it_returns",
    "append_survives_a_clean_restart",
    "dedup_survives_crashes_and_restarts",
    "order_survives_a_crash",
    "commit_survives_a_crash_whole",
    "commit_that_never_came_leaves_nothing",
    "retry_survives_crashes",
    "dead_letter_survives_a_crash_and_is_not_delivered",
    "redrive_survives_a_crash",
    "start_survives_a_crash",
    "reset_survives_a_crash",
    "schedule_survives_crashes_and_restarts",
    "schedule_catches_up_after_a_restart",
    "schedule_cancellation_survives_a_crash",
    "storm_of_crashes_leaves_every_event_settled_once",
];

/// Servers that are killed, and how often they were.
#[derive(Clone, Debug, Default)]
struct Killed(Arc<AtomicUsize>);

impl Subject for Killed {
    fn name(&self) -> &str {
        "remote, killed"
    }

    fn storage(&self) -> BoxFuture<'_, Result<Box<dyn Storage>>> {
        let site = Site {
            directory: TempDir::new().unwrap(),
            server: Mutex::default(),
            kills: self.0.clone(),
        };
        Box::pin(async { Ok(Box::new(site) as Box<dyn Storage>) })
    }

    /// The server is another process, and has the machine's clock.
    fn owns_time(&self) -> bool {
        false
    }

    fn terms(&self) -> Terms {
        let mut terms = Terms::default();
        terms.backlog = 5_000;
        terms
    }
}

/// A directory, and the process that serves it.
#[derive(Debug)]
struct Site {
    directory: TempDir,
    server: Mutex<Server>,
    kills: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Server {
    process: Option<Process>,
    /// Where it listened first, and does again.
    address: Option<String>,
}

/// A process that does not outlive this.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Its address. It is started if it does not run.
    fn start(&mut self, directory: &TempDir) -> String {
        if let (Some(_), Some(address)) = (&self.process, &self.address) {
            return address.clone();
        }
        let address = self.address.as_deref().unwrap_or("127.0.0.1:0");
        let url = format!("embedded:{}", directory.path().join("log").display());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "serves", "--ignored", "--nocapture"]);
        command.env(SERVES, &url).env(LISTENS, address);
        // It ends with us, also when we are killed.
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        self.process = Some(Process(child));
        let mut lines = said.lines().map(|line| line.unwrap());
        let address = lines.find_map(|line| Some(line.split_once(LISTENING)?.1.to_owned()));
        self.address
            .insert(address.expect("the server starts"))
            .clone()
    }
}

impl Storage for Site {
    fn open(&self, clock: Clock) -> BoxFuture<'_, Result<SharedEngine>> {
        Box::pin(async move {
            let address = self.server.lock().await.start(&self.directory);
            let url = format!("ensue://{address}?lease={LEASE}&connect_timeout=10m");
            connect_with(&url, clock).await
        })
    }

    fn crash(
        &self,
        engine: SharedEngine,
        members: Vec<Box<dyn Member>>,
    ) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if self.server.lock().await.process.take().is_some() {
                self.kills.fetch_add(1, Ordering::Relaxed);
            }
            engine.abandon();
            drop((engine, members));
            Ok(())
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is the server of the other test, in a process of its own"]
async fn serves() {
    let (Ok(url), Ok(address)) = (std::env::var(SERVES), std::env::var(LISTENS)) else {
        return; // All tests were asked for.
    };
    let engine = Engine::open(&url).await.unwrap();
    let server = ensue_server::Server::new(engine).listen(&address).unwrap();
    let running = server.start().await.unwrap();
    println!("{LISTENING}{}", running.address());
    // Until it is killed, or who started it has died.
    let mut nothing = String::new();
    std::io::stdin().read_line(&mut nothing).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_where_each_crash_kills_the_server() {
    let is_all = std::env::var("ENSUE_KILLED").is_ok_and(|which| which == "all");
    let killed = Killed::default();
    let is_chosen = |check: &&Check| is_all || SOME.contains(&check.name);
    let chosen: Vec<_> = checks().iter().filter(is_chosen).collect();
    assert!(chosen.len() >= SOME.len(), "a check has another name now");
    let subject = &killed;
    let outcomes = futures_util::stream::iter(&chosen)
        .map(|check| async move {
            let began = Instant::now();
            let outcome = check.run(subject).await;
            println!("{:7.1?}  {}", began.elapsed(), check.name);
            (check.name, outcome)
        })
        .buffer_unordered(CHECKS_AT_A_TIME);
    let failed: Vec<_> = outcomes
        .filter_map(|(name, outcome)| async move {
            (!matches!(outcome, Outcome::Passed)).then_some((name, outcome))
        })
        .collect()
        .await;
    let kills = killed.0.load(Ordering::Relaxed);
    println!("{} checks, {kills} kills", chosen.len());
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(kills >= KILLS_MIN, "{kills} kills");
}
