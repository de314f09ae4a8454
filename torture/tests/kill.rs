//! The attack with `kill -9`, as a test: `cargo xtask torture` makes it longer.

use std::process::Command;

/// How many processes are killed.
const CYCLES: &str = "ENSUE_KILL_CYCLES";
const CYCLES_IN_A_TEST: &str = "10";

#[test]
fn processes_that_are_killed_lose_and_repeat_nothing() {
    let cycles = std::env::var(CYCLES).unwrap_or_else(|_| CYCLES_IN_A_TEST.to_owned());
    let mut kill = Command::new(env!("CARGO_BIN_EXE_torture"));
    let status = kill.args(["kill", "--cycles", &cycles]).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "a killed process lost or repeated something; how to repeat it is above"
    );
}
