//! `cargo xtask test`: everything that must hold before a change is merged; `--quick`, what to run
//! after each change.

mod targets;

use std::process::Command;

use clap::Args;
use servers::{Launcher, TestServers};

use self::targets::{LEFT_OUT, rows};
use crate::binaries::{self, Manner};
use crate::cargo::{cargo, is_ci, target};
use crate::counted::run_tests;
use crate::say::say;
use crate::steps::{Outcome, Steps, run};
use crate::{deny, peers, tidy};

/// What a user may choose by itself; nothing is for crates that only define events.
const FEATURES: [&str; 8] = [
    "", "embedded", "kafka", "nats", "postgres", "rabbitmq", "redis", "remote",
];

/// Check formatting, lints, rules, tests, documentation and dependencies
#[derive(Args, Debug)]
pub(crate) struct Test {
    /// What to run after each change: formatting, rules, lints and the fast tests
    #[arg(long, conflicts_with = "install")]
    quick: bool,
    /// Install what is missing: the servers, cargo-deny and the peers (takes minutes; always done under CI)
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
        if self.quick {
            steps.step("fast tests", fast_tests);
            say(format_args!("\nleft out by --quick:\n{LEFT_OUT}"));
            return steps.close();
        }
        let may_install = self.install || is_ci();
        steps.step("features", features);
        tests(&mut steps, may_install);
        steps.step("peers", || peers::quick_ones(may_install));
        steps.step("doctests", || {
            let mut test = workspace(&["test", "--workspace", "--all-features", "--locked"]);
            test.arg("--doc");
            run_tests(test, "an example in the documentation does not work")
        });
        steps.step("documentation", || {
            let mut doc = workspace(&["doc", "--workspace", "--all-features", "--locked"]);
            doc.arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings");
            run(
                doc,
                "mend the documentation; most often a link leads nowhere",
            )
        });
        dependencies(&mut steps, may_install);
        steps.close()
    }
}

/// Each feature alone, without the others' dependencies.
fn features() -> Outcome {
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
}

/// All tests; those of the distributed engines on real servers, or that is said.
fn tests(steps: &mut Steps, may_install: bool) {
    let mut servers = None;
    let launcher = Launcher::new(&target(), may_install);
    steps.step("servers", || match launcher.and_then(TestServers::start) {
        Ok(started) => which_are_tested(servers.insert(started)),
        Err(why) => Outcome::Failed(why),
    });
    steps.step("tests", || {
        // Not `--all-targets`, which would run the benches as tests.
        let mut test = workspace(&["test", "--workspace", "--all-features", "--locked"]);
        test.args(["--lib", "--bins", "--tests", "--examples"]);
        let manner = Manner {
            servers: servers.as_ref().map(|servers| servers.file().to_owned()),
            ..Manner::default()
        };
        match binaries::build(test) {
            Ok(built) => binaries::run_all(&rows(built, false), &manner),
            Err(failed) => failed,
        }
    });
    // Also after a failure: they are this run's own.
    if let Some(Err(why)) = servers.map(TestServers::end) {
        say(format_args!("!!! {why}"));
    }
}

/// Those that need no server, and no long time.
fn fast_tests() -> Outcome {
    let mut test = workspace(&["test", "--workspace", "--all-features", "--locked"]);
    match targets::fast() {
        Ok(fast) => test.args(fast),
        Err(why) => return Outcome::Failed(why),
    };
    let manner = Manner {
        filters: targets::slow_tests(),
        ..Manner::default()
    };
    match binaries::build(test) {
        Ok(built) => binaries::run_all(&rows(built, true), &manner),
        Err(failed) => failed,
    }
}

/// The steps about dependencies, without the others.
pub(crate) fn dependencies_alone(install: bool) -> bool {
    let mut steps = Steps::default();
    dependencies(&mut steps, install || is_ci());
    steps.close()
}

/// What others wrote.
fn dependencies(steps: &mut Steps, may_install: bool) {
    let has_deny = deny::is_installed();
    if !has_deny && may_install {
        steps.step("install cargo-deny", deny::install);
    }
    let deny_or_skip = |work: fn() -> Outcome| {
        if deny::is_installed() {
            work()
        } else {
            Outcome::Skipped(
                "cargo-deny is not installed; `cargo xtask test --install` installs it".to_owned(),
            )
        }
    };
    steps.step("licences, bans, sources", || deny_or_skip(deny::rules));
    steps.step("advisories", || deny_or_skip(deny::advisories));
}

/// Which engines will be tested, and which not, and why.
fn which_are_tested(servers: &TestServers) -> Outcome {
    for (name, why) in servers.left_out() {
        say(format_args!(
            "!!! NOT TESTED on {name}, which is installed by hand alone \
             (`cargo xtask services up {name} --install`): {why}"
        ));
    }
    let missing = servers.missing().iter();
    let missing: Vec<_> = missing
        .map(|(name, why)| format!("{name} ({why})"))
        .collect();
    let missing = missing.join("; ");
    if missing.is_empty() {
        Outcome::Passed
    } else if is_ci() {
        Outcome::Failed(missing)
    } else {
        Outcome::Skipped(format!("not tested on these servers: {missing}"))
    }
}

fn workspace(args: &[&str]) -> Command {
    let mut command = cargo();
    command.args(args);
    command
}
