//! cargo-deny: licences, duplicate and banned crates, where crates come from, known advisories.

use std::process::{Command, Stdio};

use crate::cargo::cargo;
use crate::steps::{Outcome, run};

fn deny(args: &[&str]) -> Command {
    let mut command = cargo();
    command.arg("deny").args(args);
    command
}

/// Whether there is a cargo-deny to run.
pub(crate) fn is_installed() -> bool {
    let mut version = deny(&["--version"]);
    version.stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

/// Builds and installs it.
pub(crate) fn install() -> Outcome {
    let mut install = cargo();
    // It runs for a second and builds for minutes: an unoptimised build without debug information
    // takes less than half as long.
    install.args(["install", "cargo-deny", "--locked", "--debug"]);
    install.env("CARGO_PROFILE_DEV_DEBUG", "0");
    run(
        install,
        "crates.io and a C compiler are needed; or install cargo-deny by hand",
    )
}

/// What can be checked without knowing the world.
pub(crate) fn rules() -> Outcome {
    run(
        deny(&["--all-features", "check", "licenses", "bans", "sources"]),
        "drop the crate, or change deny.toml and say why there",
    )
}

/// Known vulnerabilities. Without the advisory database there is nothing to check against: that is
/// said, and does not fail a run on a machine without network.
pub(crate) fn advisories() -> Outcome {
    let fetched = run(deny(&["fetch", "db"]), "");
    if fetched != Outcome::Passed {
        return Outcome::Skipped(
            "the advisory database cannot be fetched, so NO ADVISORY WAS CHECKED".to_owned(),
        );
    }
    run(
        deny(&["--all-features", "check", "--disable-fetch", "advisories"]),
        "update the crate (`cargo update -p NAME`), or say in deny.toml why it does not matter",
    )
}
