//! What the command finds in recorded log-ins.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

/// Where the recorded log-ins are, if this checkout has them beside it.
const RECORDED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../../shared/data/logins/openssh.log"
);

fn run(file: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_accounts"))
        .arg("--replay")
        .arg(file)
        .args(arguments)
        .output()
        .unwrap()
}

/// What the command says of a file with these bytes.
#[track_caller]
fn assert_replayed(text: &[u8], arguments: &[&str], expected: &Value) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sshd.log");
    std::fs::write(&file, text).unwrap();
    let output = run(&file, &[&["--json"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(&found, expected);
}

#[test]
fn the_recorded_log_ins() {
    let file = Path::new(RECORDED);
    if !file.exists() {
        eprintln!("NOT TESTED: the recorded log-ins are not there: {RECORDED}");
        return;
    }
    // Counted by a few lines of Python.
    let expected = json!({
        "failed": 528,
        "accepted": 1,
        "attempts": 529,
        "invalid_user": 113,
        "addresses": 25,
        "blocked": [
            "103.99.0.122", "106.5.5.195", "112.95.230.3", "119.4.203.64", "123.235.32.19",
            "183.62.140.253", "185.190.58.151", "187.141.143.180", "5.188.10.180", "5.36.59.76",
            "60.2.12.12",
        ],
    });
    let text = std::fs::read(file).unwrap();
    assert_replayed(&text, &[], &expected);
}

#[test]
fn windows_repetitions_and_turns_of_the_year() {
    let mut text = Vec::new();
    let mut line = |time: &str, message: &str| {
        text.extend_from_slice(format!("{time} host sshd[1]: {message}\r\n").as_bytes());
    };
    let failed = |address: &str| format!("Failed password for root from {address} port 1 ssh2");
    // Sixty seconds from the first to the last, over the turn of the year, the last line first.
    for time in [
        "Jan  1 00:00:30",
        "Dec 31 23:59:30",
        "Dec 31 23:59:31",
        "Dec 31 23:59:59",
        "Jan  1 00:00:00",
    ] {
        line(time, &failed("192.0.2.10"));
    }
    // Sixty-one.
    for time in [
        "Jan  1 00:00:00",
        "Jan  1 00:00:15",
        "Jan  1 00:00:30",
        "Jan  1 00:00:45",
        "Jan  1 00:01:01",
    ] {
        line(time, &failed("192.0.2.9"));
    }
    line(
        "Jan  1 00:02:00",
        &format!("message repeated 5 times: [ {}]", failed("2001:db8::1")),
    );
    line(
        "Jan  1 00:02:00",
        &format!("message repeated 4 times: [ {}]", failed("192.0.2.8")),
    );
    line(
        "Jan  1 00:02:00",
        "Invalid user a from 6.6.6.6 from 192.0.2.7",
    );
    line(
        "Jan  1 00:02:00",
        "Failed password for invalid user a from 6.6.6.6 from 192.0.2.7 port 1 ssh2",
    );
    line(
        "Jan  1 00:02:00",
        "Accepted password for ada from 192.0.2.6 port 1 ssh2",
    );
    line(
        "Jan  1 00:02:00",
        "PAM 4 more authentication failures; logname= rhost=6.6.6.6",
    );
    line(
        "Jan  1 00:02:00",
        "Failed none for root from 6.6.6.6 port 1 ssh2",
    );
    text.extend_from_slice(
        b"Jan  1 00:02:00 host sshd[1]: Invalid user \xff\xfe from 192.0.2.7 port 2\n",
    );
    text.extend_from_slice(
        b"Jan  1 00:02:00 host su[1]: Failed password for root from 6.6.6.6 port 1 ssh2\n",
    );
    text.extend_from_slice(b"Jan  1 00:02:00 host sshd[1]: Failed password for root from 192.0");
    let expected = json!({
        "failed": 5 + 5 + 5 + 4 + 1,
        "accepted": 1,
        "attempts": 21,
        "invalid_user": 2,
        "addresses": 6,
        "blocked": ["192.0.2.10", "2001:db8::1"],
    });
    assert_replayed(&text, &[], &expected);
    assert_replayed(&text, &["--engine", "memory:"], &expected);
}

#[test]
fn a_file_that_is_replayed_again_adds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let engine = format!("embedded:{}", directory.path().display());
    let text = "Dec 10 00:00:00 host sshd[1]: message repeated 7 times: [ Failed password for root from ::1 port 1 ssh2]";
    let expected = json!({
        "failed": 7, "accepted": 0, "attempts": 7, "invalid_user": 0, "addresses": 1, "blocked": ["::1"],
    });
    for _again in 0..2 {
        assert_replayed(text.as_bytes(), &["--engine", &engine], &expected);
    }
}

#[test]
fn a_file_without_log_ins_and_one_that_is_not_there() {
    let nothing = json!({
        "failed": 0, "accepted": 0, "attempts": 0, "invalid_user": 0, "addresses": 0, "blocked": [],
    });
    assert_replayed(b"", &[], &nothing);
    assert_replayed(b"\0\r\n\xff\n\nno syslog", &[], &nothing);
    let output = run(Path::new("not/there.log"), &["--json"]);
    assert!(!output.status.success() && output.stdout.is_empty());
    let why = String::from_utf8(output.stderr).unwrap();
    assert!(
        why.contains("not/there.log") && why.contains("sshd"),
        "{why}"
    );
}
