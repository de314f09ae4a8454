//! A hall of sensors: the parts of the system as processes, in a directory of their own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::disallowed_types, reason = "it looks for a free port")]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A directory in which parts run, with one broker's address.
pub(crate) struct Hall {
    directory: tempfile::TempDir,
    broker: String,
    /// Which devices.
    world: Vec<String>,
    /// Where engine and database are, where they are not in the directory.
    pub(crate) places: Vec<String>,
}

/// A process that ends with the test.
pub(crate) struct Process(Child);

impl Hall {
    pub(crate) fn new(world: &[&str]) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            broker: format!("mqtt://127.0.0.1:{}", free_port()),
            world: world.iter().map(|it| (*it).to_owned()).collect(),
            places: Vec::new(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self) -> Command {
        let log = self.path().join("log.txt");
        let mut options = std::fs::OpenOptions::new();
        let log = options.append(true).create(true).open(log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sensors"));
        command
            .current_dir(self.path())
            .env("RUST_LOG", "warn,mqtt5=error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        command
    }

    /// Starts a part, with the hall's devices, places and broker.
    pub(crate) fn start(&self, part: &str, more: &[&str]) -> Process {
        let mut command = self.command();
        command
            .args(&self.world)
            .args(&self.places)
            .args(["--home", "home", "--mqtt", &self.broker, "--part", part])
            .args(more);
        Process(command.spawn().unwrap())
    }

    /// All of it in one process, to its end: what it prints.
    pub(crate) fn whole(&self, more: &[&str]) -> Value {
        let mut command = self.command();
        command.args(&self.world).args(&self.places).args(more);
        self.json(command.arg("--json").output().unwrap())
    }

    /// Every reading that is stored, as often as it is.
    pub(crate) fn stored(&self) -> Vec<(String, u64)> {
        let mut command = self.command();
        command.args(["query", "--limit", "1000000", "--json"]);
        let mut places = self.places.iter().skip_while(|it| *it != "--database");
        match (places.next(), places.next()) {
            (Some(flag), Some(url)) => command.args([flag, url]),
            _ => command.args(["--home", "home"]),
        };
        let found = self.json(command.output().unwrap());
        let rows = found.as_array().unwrap().iter();
        let row = |row: &Value| {
            let device = row["device"].as_str().unwrap().to_owned();
            (device, row["sequence"].as_u64().unwrap())
        };
        rows.map(row).collect()
    }

    /// What the broker has acknowledged to the devices.
    pub(crate) fn acknowledged(&self) -> BTreeSet<(String, u64)> {
        let text = std::fs::read_to_string(self.path().join("acknowledged")).unwrap();
        let line = |line: &str| {
            let (device, number) = line.split_once(',').unwrap();
            (device.to_owned(), number.parse().unwrap())
        };
        text.lines().map(line).collect()
    }

    fn json(&self, output: Output) -> Value {
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{}: {text}\n{}",
            output.status,
            self.log()
        );
        assert_eq!(
            text.lines().count(),
            1,
            "one value and nothing else: {text}"
        );
        serde_json::from_str(&text).unwrap()
    }

    /// What the processes said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log.txt")).unwrap_or_default()
    }
}

impl Process {
    /// Kills it, without a word.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn leave(mut self) {
        let id = self.0.id().to_string();
        let asked = Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(asked.unwrap().success());
        self.0.wait().unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits until it has ended well.
    pub(crate) fn ended(mut self, hall: &Hall) {
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}\n{}", hall.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing of it is left when a check has failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asserts that two summaries say the same of what is stored.
#[track_caller]
pub(crate) fn assert_same(found: &Value, expected: &Value) {
    let stored = [
        "readings", "devices", "min", "max", "mean", "gaps", "rejected", "alarms",
    ];
    for field in stored {
        assert_eq!(
            found[field], expected[field],
            "{field} of {found}, {expected}"
        );
    }
}

/// Below those that outgoing connections get: one of them could have it while the broker is away.
fn free_port() -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| fastrand::u16(20_000..30_000));
    ports.find(is_free).unwrap()
}
