//! A drill: six services in two processes each, a storefront and a report, all on one server. While
//! orders come in, processes are killed and started again, and so is the server.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use servers::Running;
use tempfile::TempDir;

const SERVICES: [&str; 6] = [
    "ordering",
    "payments",
    "fulfilment",
    "shipping",
    "receipts",
    "notifications",
];
const MEMBERS: usize = 2;
/// How long the orders come in at the least, for each kill.
const KILL_EVERY: Duration = Duration::from_millis(500);
/// How long a process may take to leave when it is asked to: only one that hangs takes so long.
const LEAVE: Duration = Duration::from_secs(600);

/// What to do.
pub(crate) struct Drill {
    pub(crate) server: Running,
    /// Which orders: arguments of the command.
    pub(crate) orders: Vec<String>,
    /// How many processes are killed.
    pub(crate) kills: usize,
    /// How often the server is killed.
    pub(crate) outages: usize,
    /// How long everything may take.
    pub(crate) limit: Duration,
}

/// What came of it.
pub(crate) struct Drilled {
    /// How many processes and servers were killed before all was done.
    pub(crate) attacks: usize,
    /// What the report says.
    pub(crate) summary: Value,
    /// What a report says that has to get the whole log from the server.
    pub(crate) afresh: Value,
    /// Until the report.
    pub(crate) took: Duration,
}

impl Drill {
    /// Runs it; `orders` is how many there are.
    pub(crate) fn run(self, orders: u64) -> Drilled {
        let directory = tempfile::tempdir().unwrap();
        let namespace = format!("orders_{:016x}", fastrand::u64(..));
        let stage = Stage {
            rate: self.rate(orders),
            drill: self,
            directory,
            namespace,
            began: Instant::now(),
        };
        stage.play()
    }

    /// Slow enough that orders come in until the last kill, whatever chance has in mind.
    fn rate(&self, orders: u64) -> Option<u64> {
        let attacks = u32::try_from(self.kills + self.outages).unwrap();
        let most = KILL_EVERY.mul_f64(1.5) * attacks;
        (attacks > 0).then(|| (orders * 1_000 / most.as_millis() as u64).max(1))
    }
}

struct Stage {
    drill: Drill,
    rate: Option<u64>,
    directory: TempDir,
    namespace: String,
    began: Instant,
}

impl Stage {
    fn play(self) -> Drilled {
        let mut report = self.start("report", "report");
        let mut actors: Vec<_> = SERVICES
            .iter()
            .flat_map(|service| {
                (0..MEMBERS).map(move |member| (*service, format!("{service}-{member}")))
            })
            .chain([("storefront", "storefront".to_owned())])
            .map(|(part, name)| self.start(part, &name))
            .collect();
        let attacks = self.torment(&mut actors, &mut report);
        let summary = loop {
            if let Some(status) = report.child.try_wait().unwrap() {
                break report.said(status);
            }
            self.check(&mut actors);
            std::thread::sleep(Duration::from_millis(20));
        };
        let took = self.began.elapsed();
        for actor in &mut actors {
            actor.leave();
        }
        let mut afresh = self.start("report", "afresh");
        let status = loop {
            self.check(&mut []);
            match afresh.child.try_wait().unwrap() {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let planned = self.drill.kills + self.drill.outages;
        assert!(
            attacks * 2 >= planned,
            "through after {attacks} of {planned} attacks: that tests little"
        );
        Drilled {
            attacks,
            summary,
            afresh: afresh.said(status),
            took,
        }
    }

    /// Kills what it was told to, at moments and in an order of chance; says how often it did.
    fn torment(&self, actors: &mut [Actor], report: &mut Actor) -> usize {
        let mut attacks = 0;
        let mut targets = vec![false; self.drill.kills];
        targets.resize(self.drill.kills + self.drill.outages, true);
        fastrand::shuffle(&mut targets);
        for is_server in targets {
            let pause = KILL_EVERY.mul_f64(0.5 + fastrand::f64());
            let until = Instant::now() + pause;
            while Instant::now() < until {
                self.check(actors);
                std::thread::sleep(Duration::from_millis(10));
            }
            if report.child.try_wait().unwrap().is_some() {
                break;
            }
            if is_server {
                if self.drill.server.name == "rabbitmq" {
                    // It answers for a new queue before all about it is on disk: see docs/services.md.
                    std::thread::sleep(Duration::from_secs(1));
                }
                self.drill.server.kill();
                std::thread::sleep(Duration::from_millis(fastrand::u64(0..1_000)));
                self.drill.server.start();
            } else {
                let actor = fastrand::choice(&mut *actors).unwrap();
                actor.child.kill().unwrap();
                actor.child.wait().unwrap();
                *actor = self.start(actor.part, &actor.name.clone());
            }
            attacks += 1;
        }
        attacks
    }

    /// No actor but the storefront ends, and nothing takes too long.
    fn check(&self, actors: &mut [Actor]) {
        for actor in actors {
            if let Some(status) = actor.child.try_wait().unwrap() {
                let may_end = actor.part == "storefront" && status.success();
                assert!(may_end, "{} ended: {status}\n{}", actor.name, actor.log());
            }
        }
        if self.began.elapsed() > self.drill.limit {
            let kept = self.directory.path().display();
            panic!("not through after {:?}, in {kept}", self.drill.limit);
        }
    }

    /// Starts a process with a copy of the log that is its own, and that it finds again.
    fn start(&self, part: &'static str, name: &str) -> Actor {
        let place = self.directory.path();
        let mut engine = format!("{}?lease=2s&connect_timeout=10m", self.drill.server.url);
        if !engine.starts_with("ensue:") {
            let copy = place.join("copies").join(name);
            engine = format!(
                "{engine}&namespace={}&replica={}",
                self.namespace,
                copy.display()
            );
        }
        let log = place.join(format!("{name}.log"));
        let mut options = std::fs::OpenOptions::new();
        let stderr = options.append(true).create(true).open(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
        command
            .current_dir(place)
            .args(["--json", "--engine", &engine, "--service", part])
            .args(["--faults", "5"])
            .args(&self.drill.orders)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr);
        if let ("storefront", Some(rate)) = (part, self.rate) {
            command.args(["--rate", &rate.to_string()]);
        }
        Actor {
            part,
            name: name.to_owned(),
            log,
            child: command.spawn().unwrap(),
        }
    }
}

/// One process.
struct Actor {
    part: &'static str,
    name: String,
    log: PathBuf,
    child: Child,
}

impl Actor {
    /// What a process printed that has ended.
    fn said(&mut self, status: ExitStatus) -> Value {
        assert!(status.success(), "{}: {status}\n{}", self.name, self.log());
        let mut stdout = self.child.stdout.take().unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stdout, &mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Asks the process to end, which it does without complaint.
    fn leave(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            let id = self.child.id().to_string();
            let asked = Command::new("kill").args(["-s", "TERM", &id]).status();
            assert!(asked.unwrap().success());
        }
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{}: {status}\n{}", self.name, self.log());
                return;
            }
            assert!(
                begin.elapsed() < LEAVE,
                "{} does not leave\n{}",
                self.name,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn log(&self) -> String {
        read(&self.log)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // Nothing of it is left when a check has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}
