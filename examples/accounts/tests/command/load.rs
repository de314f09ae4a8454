//! All of it in one process.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics"
)]

use serde_json::{Value, json};

use crate::town::{Town, assert_good};

/// As many as it takes for one of each kind.
const USERS: u32 = 25;

#[track_caller]
fn assert_whole(engine: &str) {
    let town = Town::new(|home| engine.replace("HOME", &home.display().to_string()));
    let output = town.run(&["--engine", &town.engine, "--users", &USERS.to_string()]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    assert!(output.status.success(), "{said} {output:?}");
    let mut log = said["log"].clone();
    log["is_view_equal"] = said["is_view_equal"].clone();
    assert_good(&said, &log, USERS);
    let events = &said["log"]["events"];
    assert_eq!(said["raced"], json!(5), "{said}");
    assert_eq!(events["user.forgotten"], json!(3), "{said}");
    assert_eq!(events["address.blocked"], json!(1), "{said}");
    // Secrets are neither in what is printed nor in the log of the program.
    let logged = std::fs::read_to_string(town.home().join("run.log")).unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    for secret in ["password of", "argon2id"] {
        assert!(
            !logged.contains(secret) && !printed.contains(secret),
            "{logged}{printed}"
        );
    }
}

#[test]
fn in_memory() {
    assert_whole("memory:");
}

#[test]
fn in_a_directory() {
    assert_whole("embedded:HOME/log");
}
