//! Servers that somebody started for the tests.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics"
)]
#![expect(clippy::disallowed_types, reason = "whether a server listens")]

use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// The file with them, as `cargo xtask services status --json` prints it.
const FILE: &str = "ENSUE_SERVICES";
/// How long a server may take to end, or to come back.
const RETURN: Duration = Duration::from_secs(600);

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) url: String,
    /// A script that becomes the server.
    start: PathBuf,
}

impl Server {
    /// `None` when there is none of this name, which is said, and no excuse under CI.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let found = std::env::var_os(FILE).and_then(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            let all: Vec<Self> = serde_json::from_str(&text).unwrap();
            all.into_iter().find(|server| server.name == name)
        });
        if found.is_none() {
            let why = format!("SKIPPED: `{FILE}` names no file with the server `{name}`\n");
            assert!(std::env::var_os("CI").is_none(), "{why}");
            // Not by a macro: the test harness would keep it to itself.
            std::io::stderr().write_all(why.as_bytes()).unwrap();
        }
        found
    }

    /// Ends the server as a power cut would, but for what the kernel knows already.
    pub(crate) fn kill(&self) {
        if self.name == "rabbitmq" {
            // It answers for a new queue before all about it is on disk: see docs/services.md.
            std::thread::sleep(Duration::from_secs(1));
        }
        let process = self.process();
        let process = process.unwrap_or_else(|| panic!("{} does not run", self.name));
        let killed = Command::new("kill").args(["-s", "KILL", &process]).status();
        assert!(killed.unwrap().success());
        let begin = Instant::now();
        while self.process().is_some() || self.is_listening() {
            assert!(begin.elapsed() < RETURN, "{} does not end", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again, on the same port and with the same data.
    pub(crate) fn start(&self) {
        let begin = Instant::now();
        loop {
            // In a session of its own: it outlives the test.
            let mut server = Command::new("setsid")
                .arg(&self.start)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            while server.try_wait().unwrap().is_none() {
                assert!(begin.elapsed() < RETURN, "{} does not start", self.name);
                if self.is_listening() {
                    // Somebody has to take note of its end.
                    std::thread::spawn(move || server.wait());
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            // What the killed one left behind, such as shared memory, may take a moment to go.
            assert!(begin.elapsed() < RETURN, "{} does not start", self.name);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_listening(&self) -> bool {
        let (_, rest) = self.url.split_once("://").unwrap();
        let place = rest.split(['/', '?']).next().unwrap();
        TcpStream::connect(place.rsplit('@').next().unwrap()).is_ok()
    }

    /// The id of the server's process, if it runs: the script writes it down with its birth,
    /// because an id alone may be somebody else's by now.
    fn process(&self) -> Option<String> {
        let file = self.start.with_file_name("process");
        let written = std::fs::read_to_string(file).unwrap();
        let (id, born) = written.trim_end().split_once(' ').unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let fields: Vec<_> = fields.split_whitespace().collect();
        let is_it = !matches!(fields[0], "Z" | "X") && fields[19] == born;
        is_it.then(|| id.to_owned())
    }
}
