//! Handlers that misbehave, as a test: `cargo xtask torture` takes longer.

use std::process::Command;

/// For how long, in seconds.
const SECONDS: &str = "ENSUE_STOPS_SECONDS";
const SECONDS_IN_A_TEST: &str = "10";
/// The engine's URL: the embedded engine if it is not set.
const URL: &str = "ENSUE_STOPS_URL";

#[test]
fn nothing_that_handlers_do_stops_a_group_in_silence() {
    let seconds = std::env::var(SECONDS).unwrap_or_else(|_| SECONDS_IN_A_TEST.to_owned());
    let mut stops = Command::new(env!("CARGO_BIN_EXE_torture"));
    stops.args(["stops", "--seconds", &seconds]);
    if let Ok(url) = std::env::var(URL) {
        stops.args(["--url", &url]);
    }
    let status = stops.status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "a group stopped in silence, or lost or repeated something; the seed is above"
    );
}
