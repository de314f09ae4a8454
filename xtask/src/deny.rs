//! cargo-deny: licences, duplicate and banned crates, where crates come from, known advisories.

mod database;
mod exceptions;

use std::path::Path;
use std::process::{Command, Stdio};

use self::database::Database;
use crate::cargo::{cargo, root};
use crate::say::say;
use crate::steps::{Outcome, run};

/// Its settings, at the workspace's root.
const SETTINGS: &str = "deny.toml";
/// What to do about an advisory.
const ADVICE: &str = "update the crate (`cargo update -p NAME`), or say in deny.toml why it does not matter, and until when";

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

/// Known vulnerabilities, by the advisory database as it is today, or else by a copy of it beside
/// the checkout. Without either there is nothing to check against: that is said, and does not fail
/// a run on a machine without network.
pub(crate) fn advisories() -> Outcome {
    if let Err(why) = exceptions::all_have_time_left(&root().join(SETTINGS)) {
        return Outcome::Failed(why);
    }
    let fetch = run(deny(&["fetch", "db"]), "");
    if fetch == Outcome::Passed {
        return run(check(&root().join(SETTINGS), true), ADVICE);
    }
    let Some(copy) = database::copy_beside() else {
        return Outcome::Skipped(
            "the advisory database cannot be fetched, and there is no copy of it in \
             ../shared/advisory-db, so NO ADVISORY WAS CHECKED"
                .to_owned(),
        );
    };
    say(format_args!(
        "the advisory database cannot be fetched: taking the copy in {}",
        copy.display()
    ));
    match Database::of(&copy) {
        Ok(database) => run(database.serve(check(&database.settings, false)), ADVICE),
        Err(why) => Outcome::Failed(why),
    }
}

fn check(settings: &Path, is_fetched: bool) -> Command {
    let mut check = deny(&["--all-features", "--config"]);
    check.arg(settings).arg("check");
    if is_fetched {
        check.arg("--disable-fetch");
    }
    check.arg("advisories");
    check
}
