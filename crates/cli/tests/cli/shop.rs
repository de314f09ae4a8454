//! A directory with a small history in it, and the binary to look at it.
//!
//! | position | topic | event | group `payments` |
//! | --- | --- | --- | --- |
//! | 1st | orders | o-1 created | settled |
//! | 2nd | orders | o-2 created | dead: the card was declined |
//! | 3rd | orders | o-3 created, binary | dead: it does not decode |
//! | 4th | photos | taken | no group reads it |
//!
//! An event of topic `reminders` is scheduled for 2100.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use ensue::engine::{
    Append, Commit, Death, DeathCause, Delivery, Query, Recorded, Schedule, Subscription,
};
use ensue::{Codec, Envelope, OnDead, SharedEngine, Start};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_ensue");
/// Longer than anything takes; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Every event of a topic.
pub(crate) async fn events_of(engine: &SharedEngine, topic: &str) -> Vec<Recorded> {
    let mut query = Query {
        topics: Some(topic.parse().unwrap()),
        ..Query::default()
    };
    let mut found = Vec::new();
    loop {
        let page = engine.read(query.clone()).await.unwrap();
        found.extend(page.events);
        query.from = page.next;
        if page.is_end {
            return found;
        }
    }
}

pub(crate) struct Shop {
    directory: TempDir,
}

impl Shop {
    /// A directory without a log.
    pub(crate) fn empty() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
        }
    }

    /// The history above.
    pub(crate) async fn with_history() -> Self {
        let shop = Self::empty();
        let engine = shop.open().await;
        for event in history() {
            engine.append(vec![event.into()]).await.unwrap();
        }
        let reminder = Append {
            envelope: event("reminders", "reminder.due", "o-1", "r-1", b"{}"),
            expect: None,
            schedule: Some(Schedule::at("2100-01-01T00:00:00Z".parse().unwrap())),
        };
        engine.append(vec![reminder]).await.unwrap();
        handle(&engine).await;
        engine.close().await.unwrap();
        shop
    }

    /// The payloads of all events, as they are stored.
    pub(crate) async fn payloads(&self) -> Vec<Vec<u8>> {
        let engine = self.open().await;
        let page = engine.read(Query::default()).await.unwrap();
        let events = page.events.iter();
        let payloads = events.map(|it| it.envelope.payload().to_vec()).collect();
        engine.close().await.unwrap();
        payloads
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("log")
    }

    pub(crate) fn url(&self) -> String {
        format!("embedded:{}", self.path().display())
    }

    /// Owns the directory until the engine is closed.
    pub(crate) async fn open(&self) -> SharedEngine {
        ensue::connect(&self.url()).await.unwrap()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .env("ENSUE_ENGINE", self.url())
            .env_remove("ENSUE_LOG");
        command.args(args);
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        finish(self.command(args), b"")
    }

    /// Runs the binary to its end, with something on its stdin.
    pub(crate) fn run_with(&self, args: &[&str], stdin: &[u8]) -> Run {
        finish(self.command(args), stdin)
    }

    /// What `--json` prints, of a run that succeeds.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.run(&[&["--json"], args].concat()).succeeds().json()
    }
}

/// Every file below a directory and what is in it.
pub(crate) fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The error object that `--json` prints on stderr.
    #[track_caller]
    pub(crate) fn error(&self) -> Value {
        let error: Value =
            serde_json::from_str(&self.err).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        error["error"].clone()
    }

    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Self {
        assert!(self.out.contains(part), "no `{part}` in {self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn warns(self, part: &str) -> Self {
        assert!(self.err.contains(part), "no `{part}` in {self:?}");
        self
    }
}

fn finish(mut command: Command, stdin: &[u8]) -> Run {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read its stdin may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A run that goes on; ended when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        Self {
            child,
            lines: lines(stdout),
        }
    }

    /// The next line, or a failed test.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }
}

fn lines(stdout: ChildStdout) -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::sync_channel(1_000);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            if send.send(line.unwrap()).is_err() {
                break;
            }
        }
    });
    lines
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn event(topic: &str, kind: &str, key: &str, id: &str, payload: &[u8]) -> Envelope {
    let builder = Envelope::builder(topic, kind)
        .key(key)
        .id(id)
        .source("/shop");
    builder
        .payload(Codec::Json, payload.to_vec())
        .build()
        .unwrap()
}

fn history() -> Vec<Envelope> {
    let binary = Envelope::builder("orders", "order.created")
        .key("o-3")
        .id("e-3")
        .source("/shop");
    vec![
        event("orders", "order.created", "o-1", "e-1", br#"{"cents":100}"#),
        event("orders", "order.created", "o-2", "e-2", br#"{"cents":200}"#),
        binary
            .payload(Codec::Cbor, vec![0xff, 0x00, b'A'])
            .build()
            .unwrap(),
        event("photos", "photo.taken", "", "e-4", br#"{"of":"cat"}"#),
    ]
}

/// What the group `payments` did with the orders.
async fn handle(engine: &SharedEngine) {
    let member = engine
        .join(Subscription {
            group: "payments".into(),
            topics: vec!["orders".parse().unwrap()],
            types: None,
            start: Start::Earliest,
            in_flight_max: 100,
        })
        .await
        .unwrap();
    let mut left = 3;
    while left > 0 {
        let mut commit = Commit::default();
        for delivery in member.next(left).await.unwrap() {
            left -= 1;
            match delivery.envelope.key() {
                "o-2" => commit.dead.push(death(
                    delivery,
                    DeathCause::Exhausted,
                    "card declined: the gateway timed out",
                )),
                "o-3" => {
                    commit
                        .dead
                        .push(death(delivery, DeathCause::Undecodable, "not an order"));
                }
                _ => commit.settled.push(delivery.position),
            }
        }
        member.commit(commit).await.unwrap();
    }
    member.leave().await.unwrap();
}

fn death(delivery: Delivery, cause: DeathCause, reason: &str) -> Death {
    Death {
        position: delivery.position,
        attempts: 5,
        cause,
        reason: reason.into(),
        on_dead: OnDead::Park,
        envelope: delivery.envelope,
    }
}
