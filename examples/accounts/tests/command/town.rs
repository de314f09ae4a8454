//! Services and made-up users in processes of their own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics"
)]
#![expect(clippy::disallowed_types, reason = "it looks for a free port")]

use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

/// How long made-up users ask again and again: as long as a machine may be slow.
const PATIENCE: &str = "900";

/// The signal that asks a process to end.
const TERMINATED: i32 = 15;

/// A directory in which a service is at home.
pub(crate) struct Town {
    directory: tempfile::TempDir,
    pub(crate) engine: String,
    address: String,
}

/// A process that ends with the test.
pub(crate) struct Process {
    child: Child,
    stderr: PathBuf,
}

impl Town {
    /// On this engine; none is a log in the directory.
    pub(crate) fn new(engine: impl FnOnce(&Path) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = engine(directory.path());
        let address = format!("127.0.0.1:{}", free_port());
        Self {
            directory,
            engine,
            address,
        }
    }

    pub(crate) fn home(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, name: &str, arguments: &[&str]) -> (Command, PathBuf) {
        let stderr = self.directory.path().join(format!("{name}.log"));
        let mut options = std::fs::OpenOptions::new();
        let log = options.append(true).create(true).open(&stderr).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_accounts"));
        command
            .arg("--home")
            .arg(self.directory.path())
            .args(["--json", "--patience", PATIENCE])
            .args(arguments)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        (command, stderr)
    }

    /// Starts the service, at an address that stays the same.
    pub(crate) fn serve(&self) -> Process {
        self.serve_at(&self.engine, &self.address)
    }

    /// The same elsewhere, on a copy of the log of its own.
    pub(crate) fn serve_at(&self, engine: &str, address: &str) -> Process {
        let arguments = ["--engine", engine, "--serve", address, "--proxied"];
        self.start("service", &arguments)
    }

    /// Starts so many made-up users.
    pub(crate) fn load(&self, users: u32) -> Process {
        let users = users.to_string();
        self.start("load", &["--load", &self.address, "--users", &users])
    }

    fn start(&self, name: &str, arguments: &[&str]) -> Process {
        let (mut command, stderr) = self.command(name, arguments);
        let child = command.spawn().unwrap();
        Process { child, stderr }
    }

    /// Runs the command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let (mut command, _) = self.command("run", arguments);
        command.output().unwrap()
    }

    /// What the log says, read by another process.
    pub(crate) fn check(&self, engine: &str) -> Value {
        let output = self.run(&["--check", "--engine", engine]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Process {
    /// Kills it, without a word.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, which it does without complaint; one that has not opened yet ends by the signal.
    pub(crate) fn leave(mut self) {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(asked.unwrap().success());
        let status = self.child.wait().unwrap();
        let is_asked = status.success() || status.signal() == Some(TERMINATED);
        assert!(is_asked, "{status}\n{}", self.log());
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What it printed, at its end.
    pub(crate) fn said(mut self) -> Value {
        let mut stdout = self.child.stdout.take().unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stdout, &mut text).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {text}\n{}", self.log());
        serde_json::from_str(&text).unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing of it is left when a check has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asserts that nobody is twice, nothing lost, no session without a user.
#[track_caller]
pub(crate) fn assert_good(loaded: &Value, log: &Value, users: u32) {
    assert_eq!(loaded["lost"], json!([]), "{loaded}");
    assert_eq!(loaded["users"], json!(users), "{loaded}");
    for never in ["twice", "sessions_without_user", "dead_letters"] {
        assert_eq!(log[never], json!(0), "{never} of {log}");
    }
    assert_eq!(log["is_view_equal"], json!(true), "{log}");
    assert_eq!(log["users"], json!(users), "{log}");
    assert_eq!(log["events"]["user.confirmed"], json!(users), "{log}");
}

/// Below those that outgoing connections get: one of them could have it while the service is away.
fn free_port() -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| fastrand::u16(20_000..30_000));
    ports.find(is_free).unwrap()
}
