//! The servers that somebody started for the tests.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// The file with them, as `cargo xtask services status --json` prints it.
const FILE: &str = "ENSUE_SERVICES";
/// What the start script writes into its directory: the process and its birth.
const PROCESS: &str = "process";

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Service {
    #[allow(dead_code, reason = "not every binary that uses this asks")]
    pub(super) name: String,
    pub(super) url: String,
    pid: u32,
    /// A script that becomes the server.
    start: PathBuf,
}

impl Service {
    /// `None` when there is no such server, which is said, and no excuse where everything is
    /// there to be tested.
    pub(super) fn find(name: &str) -> Option<Self> {
        let name = name.replace('_', "-");
        let found = std::env::var_os(FILE).and_then(|file| {
            let text = std::fs::read(&file).expect("the file with the servers");
            let all: Vec<Self> = serde_json::from_slice(&text).expect("a list of servers");
            all.into_iter().find(|service| service.name == name)
        });
        if found.is_none() {
            assert!(
                std::env::var_os("CI").is_none(),
                "`{FILE}` names no file with the server `{name}`"
            );
            // Not by a macro: the test harness would keep it to itself.
            let said = format!("SKIPPED: `{FILE}` names no file with the server `{name}`\n");
            std::io::stderr().write_all(said.as_bytes()).unwrap();
        }
        found
    }

    /// Host and port, as the URL has them.
    pub(super) fn address(&self) -> String {
        let (_, rest) = self.url.split_once("://").expect("a URL");
        let place = rest.split(['/', '?']).next().unwrap();
        place.rsplit('@').next().unwrap().to_owned()
    }

    /// Ends the server as a power cut would, but for what the kernel knows already.
    pub(super) fn kill(&self) {
        let pid = self.process();
        let pid = pid.expect("the server runs").to_string();
        let killed = Command::new("kill").args(["-9", &pid]).status().unwrap();
        assert!(killed.success());
        let began = Instant::now();
        // A child of the server's, such as one that rewrites files, holds the port a little longer.
        while self.process().is_some() || self.is_listening() {
            assert!(began.elapsed() < super::RETURN, "the server does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts the server, and again when it does not come up: what an earlier one left behind,
    /// such as shared memory, may take a moment to go.
    pub(super) fn start(&self) {
        let began = Instant::now();
        while !self.starts(began) {
            assert!(began.elapsed() < super::RETURN, "the server does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn starts(&self, began: Instant) -> bool {
        // In a session of its own: it outlives the test.
        let mut server = Command::new("setsid")
            .arg(&self.start)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while began.elapsed() < super::RETURN {
            if server.try_wait().unwrap().is_some() {
                break;
            }
            if self.is_listening() {
                // Somebody has to take note of its end.
                std::thread::spawn(move || server.wait());
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // It has ended, or is none.
        let _ = server.kill();
        server.wait().unwrap();
        false
    }

    fn is_listening(&self) -> bool {
        std::net::TcpStream::connect(self.address()).is_ok()
    }

    /// The server's process, if it runs.
    fn process(&self) -> Option<u32> {
        let directory = self.start.parent().unwrap_or(Path::new("/"));
        let Ok(written) = std::fs::read_to_string(directory.join(PROCESS)) else {
            return born_and_running(self.pid).map(|_| self.pid);
        };
        // Ids are used again; an id with the time of its birth is not.
        let (pid, born) = written.trim_end().split_once(' ').unwrap();
        let pid = pid.parse().unwrap();
        (born_and_running(pid)? == born).then_some(pid)
    }
}

/// When a process was born; `None` when it has ended.
fn born_and_running(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<_> = fields.split_whitespace().collect();
    (!matches!(fields[0], "Z" | "X")).then(|| fields[19].to_owned())
}
