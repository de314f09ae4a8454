//! What the command and the service refuse.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

fn accounts(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_accounts"));
    command.arg("--home").arg(home).stdin(Stdio::null());
    command
}

#[test]
fn a_device_a_pipe_and_a_directory_are_not_replayed() {
    let home = tempfile::tempdir().unwrap();
    for path in ["/dev/zero", "/dev/stdin", "/"] {
        let mut command = accounts(home.path());
        let output = command.args(["--replay", path]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{path}");
        assert!(said.contains("and not a file"), "{path}: {said}");
    }
}

/// That it goes on to wait is said, before it gives up.
#[cfg(feature = "nats")]
#[test]
fn that_an_engine_does_not_answer_is_said_at_once() {
    let home = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let url = "nats://ada:s3cret@127.0.0.1:1?connect_timeout=10m";
    let mut command = accounts(home.path());
    let command = command.args(["--check", "--engine", url]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let said = lines.next().unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        said.contains("does not answer") && said.contains("nats"),
        "{said}"
    );
    assert!(!said.contains("s3cret"), "{said}");
}
