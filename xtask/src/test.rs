//! `cargo xtask test`: everything that must hold before a change is merged.

use std::process::Command;

use clap::Args;

use crate::cargo::{cargo, is_ci};
use crate::say::say;
use crate::services::TestServers;
use crate::steps::{Outcome, Steps, run};
use crate::{deny, tidy};

/// How many tests run side by side.
const TEST_THREADS: &str = "4";
/// What a user may choose by itself; nothing is for crates that only define events.
const FEATURES: [&str; 7] = [
    "", "embedded", "kafka", "nats", "postgres", "rabbitmq", "redis",
];

/// Check formatting, lints, rules, tests, documentation and dependencies
#[derive(Args, Debug)]
pub(crate) struct Test {
    /// Install cargo-deny if it is missing (takes minutes; always done under CI)
    #[arg(long)]
    install: bool,
}

impl Test {
    pub(crate) fn run(self) -> bool {
        let mut steps = Steps::default();
        // What takes no time comes first, so that it fails first.
        steps.step("format", || {
            run(
                workspace(&["fmt", "--all", "--check"]),
                "run `cargo fmt --all`",
            )
        });
        steps.step("tidy", tidy::step);
        steps.step("clippy", || {
            let mut clippy = workspace(&["clippy", "--workspace", "--all-targets"]);
            clippy.args(["--all-features", "--locked", "--", "-D", "warnings"]);
            run(clippy, "mend what clippy says; an `allow` needs a reason")
        });
        steps.step("features", || {
            let mut alone = FEATURES.iter().map(|features| {
                let mut clippy = workspace(&["clippy", "-p", "ensue", "--no-default-features"]);
                clippy.args(["--features", features, "--locked", "--", "-D", "warnings"]);
                run(
                    clippy,
                    "a feature must build alone, without what others need",
                )
            });
            let failed = alone.find(|it| *it != Outcome::Passed);
            failed.unwrap_or(Outcome::Passed)
        });
        // The distributed engines are tested on real servers, or that is said.
        let mut servers = None;
        steps.step("servers", || match TestServers::start() {
            Ok(started) => servers.insert(started).outcome(),
            Err(why) => Outcome::Failed(why),
        });
        // Not `--all-targets`, which would run the benches as tests.
        steps.step("tests", || {
            let mut test = workspace(&["test", "--workspace", "--all-features", "--locked"]);
            test.args(["--lib", "--bins", "--tests", "--examples"]);
            // Most of them wait for servers, or for time to pass.
            test.env("RUST_TEST_THREADS", TEST_THREADS);
            if let Some(servers) = &servers {
                test.env("ENSUE_SERVICES", &servers.file);
            }
            run(test, "the failing test's name is above")
        });
        // Also after a failure: they are this run's own.
        if let Some(Err(why)) = servers.map(TestServers::end) {
            say(format_args!("!!! {why}"));
        }
        steps.step("doctests", || {
            let mut test = workspace(&["test", "--workspace", "--all-features", "--locked"]);
            test.arg("--doc");
            run(test, "an example in the documentation does not work")
        });
        steps.step("documentation", || {
            let mut doc = workspace(&["doc", "--workspace", "--all-features", "--locked"]);
            doc.arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings");
            run(
                doc,
                "mend the documentation; most often a link leads nowhere",
            )
        });
        let has_deny = deny::is_installed();
        if !has_deny && (self.install || is_ci()) {
            steps.step("install cargo-deny", deny::install);
        }
        let deny_or_skip = |work: fn() -> Outcome| match deny::is_installed() {
            true => work(),
            false => Outcome::Skipped(
                "cargo-deny is not installed; `cargo xtask test --install` installs it".to_owned(),
            ),
        };
        steps.step("licences, bans, sources", || deny_or_skip(deny::rules));
        steps.step("advisories", || deny_or_skip(deny::advisories));
        steps.close()
    }
}

impl TestServers {
    /// Which engines will be tested, and which not, and why.
    fn outcome(&self) -> Outcome {
        let missing: Vec<_> = self
            .missing
            .iter()
            .map(|(name, why)| format!("{name}: {why}"))
            .collect();
        match missing.is_empty() {
            true => Outcome::Passed,
            false if is_ci() => Outcome::Failed(missing.join("; ")),
            false => Outcome::Skipped(format!("not tested: {}", missing.join("; "))),
        }
    }
}

fn workspace(args: &[&str]) -> Command {
    let mut command = cargo();
    command.args(args);
    if is_ci() {
        // Nothing is built a second time there: what incremental builds keep is never used.
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}
