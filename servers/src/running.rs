//! A server that runs, as tests see it: where it is, and how to kill it and start it again.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "for tests alone, which fail by panicking"
)]

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::process::{Process, Signal};

/// The file with them, as `cargo xtask services status --json` prints it.
const FILE: &str = "ENSUE_SERVICES";
/// How long a server may take to end or to come back: only one that hangs takes so long.
const RETURN: Duration = Duration::from_secs(600);

/// A server that was started for tests.
#[derive(Clone, Debug, Deserialize)]
pub struct Running {
    /// Its name, as `cargo xtask services` has it.
    pub name: String,
    /// The version that it says it has.
    pub version: String,
    /// Where clients find it.
    pub url: String,
    /// A script that becomes the server.
    start: PathBuf,
}

impl Running {
    /// The server of that name in the file that `ENSUE_SERVICES` names. `None` when there is no such
    /// server, which is printed, and no excuse under CI, where everything is there to be tested.
    ///
    /// # Panics
    /// When the file cannot be read, and under CI when the server is missing.
    pub fn find(name: &str) -> Option<Self> {
        let found = Self::find_if_there(name);
        let is_excused = found.is_some() || std::env::var_os("CI").is_none();
        assert!(is_excused, "there is no server `{name}`");
        found
    }

    /// The same, of one that is installed by hand alone: it may be missing anywhere.
    ///
    /// # Panics
    /// When the file cannot be read.
    pub fn find_if_there(name: &str) -> Option<Self> {
        let name = name.replace('_', "-");
        let found = std::env::var_os(FILE).and_then(|file| {
            let all = Self::all(Path::new(&file)).expect("the file with the servers");
            all.into_iter().find(|server| server.name == name)
        });
        if found.is_none() {
            let said = format!("SKIPPED: `{FILE}` names no file with the server `{name}`\n");
            // Not by a macro: the test harness would keep it to itself.
            std::io::stderr().write_all(said.as_bytes()).unwrap();
        }
        found
    }

    /// All servers in such a file; whether they answer shows when they are connected to.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn all(file: &Path) -> Result<Vec<Self>, String> {
        let cannot = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = std::fs::read(file).map_err(|error| cannot(&error))?;
        serde_json::from_slice(&text).map_err(|error| cannot(&error))
    }

    /// Host and port, as the URL has them.
    ///
    /// # Panics
    /// When it has no URL.
    pub fn address(&self) -> String {
        let (_, rest) = self.url.split_once("://").expect("a URL");
        let place = rest.split(['/', '?']).next().unwrap_or(rest);
        place.rsplit('@').next().unwrap_or(place).to_owned()
    }

    /// The URL of an engine with a namespace of its own there; further options are added with `&`.
    pub fn namespace(&self, namespace: &str) -> String {
        // A server with TLS or with a login of its own has options already.
        let separator = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{separator}namespace={namespace}", self.url)
    }

    /// Ends the server as a power cut would, but for what the kernel knows already.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub fn kill(&self) {
        let process = self.process();
        let process = process.unwrap_or_else(|| panic!("{} does not run", self.name));
        process.signal(Signal::Kill).unwrap();
        let began = Instant::now();
        // A child of the server's, such as one that rewrites files, holds the port a little longer.
        while self.process().is_some() || self.is_listening() {
            assert!(began.elapsed() < RETURN, "{} does not end", self.name);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts the server, and again when it does not come up: what an earlier one left behind,
    /// such as shared memory, may take a moment to go.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(&self) {
        let began = Instant::now();
        while !self.starts(began) {
            assert!(began.elapsed() < RETURN, "{} does not start", self.name);
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
        while began.elapsed() < RETURN {
            if server.try_wait().unwrap().is_some() {
                break;
            }
            if self.is_listening() {
                // Its end has to be taken note of.
                std::thread::spawn(move || server.wait());
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // It has ended, or hangs.
        let _ = server.kill();
        server.wait().unwrap();
        false
    }

    fn is_listening(&self) -> bool {
        TcpStream::connect(self.address()).is_ok()
    }

    /// The server's process, if it runs: the script has written it down.
    fn process(&self) -> Option<Process> {
        Process::of(self.start.parent()?)
    }
}
