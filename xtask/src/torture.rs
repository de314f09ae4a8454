//! `cargo xtask torture`: every attack on Ensue, one after the other, each with its duration.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::cargo::{cargo, is_ci, target};
use crate::say::say;
use crate::steps::{Outcome, Steps, run, shown};

/// Optimised, and linked without the optimisations that take a minute for each test binary.
const PROFILE: &str = "torture";
/// How many processes are killed.
const CYCLES: &str = "50";
const CYCLES_LONG: &str = "1000";
/// How often the storms of the contract suite rage.
const STORMS: u32 = 3;
const STORMS_LONG: u32 = 100;
/// What the attacks on the log read their sizes from; without them they take their own.
const SIZES_LONG: [(&str, &str); 4] = [
    ("ENSUE_ATTACK_SEEDS", "100000"),
    ("ENSUE_ATTACK_FLIPS", "100000"),
    ("ENSUE_ATTACK_HISTORIES", "100000"),
    ("ENSUE_ATTACK_SCHEDULES", "50000"),
];

/// Attack the log and the engine, for minutes or for hours
#[derive(Args, Debug)]
pub(crate) struct Torture {
    /// As long as before a release: hours
    #[arg(long)]
    long: bool,
    /// Only this attack; can be repeated
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(ATTACKS.map(|attack| attack.name)))]
    only: Vec<String>,
}

/// One attack.
struct Attack {
    name: &'static str,
    /// What it means when it wins.
    advice: &'static str,
    kind: Kind,
}

enum Kind {
    /// The tests of this module of the test binary `attack` of the log.
    Log,
    /// Safeguards of the log are taken away in turn.
    Mutation,
    /// Processes are killed.
    Kill,
    /// An event ends its process.
    Abort,
    /// The storms of the contract suite.
    Contract,
    /// All interleavings of a model: its cfg, and what `cargo test` is told to run.
    Schedules(&'static str, &'static [&'static str]),
}

impl Attack {
    const fn on_log(name: &'static str, advice: &'static str) -> Self {
        let kind = Kind::Log;
        Self { name, advice, kind }
    }
}

const ATTACKS: [Attack; 15] = [
    Attack::on_log(
        "power",
        "a power cut lost or changed something; the seed is above",
    ),
    Attack::on_log(
        "io",
        "a crash after one of the calls of a run lost something",
    ),
    Attack::on_log("torn", "what a torn write left was not told from damage"),
    Attack::on_log(
        "flips",
        "a flipped bit was served, or was cut off as if it were torn",
    ),
    Attack::on_log("sync", "something was acknowledged after a call had failed"),
    Attack::on_log("stale", "what a file held before was taken for records"),
    Attack::on_log("retention", "a trim that was cut short lost something"),
    Attack::on_log(
        "trace",
        "the same seed gave two different runs: no failure can be repeated",
    ),
    Attack::on_log(
        "model",
        "the log does not do what its model does; the history is above",
    ),
    Attack {
        name: "mutation",
        advice: "a safeguard can go and no attack notices: sharpen an attack",
        kind: Kind::Mutation,
    },
    Attack {
        name: "kill",
        advice: "a killed process lost or repeated something; how to repeat it is above",
        kind: Kind::Kill,
    },
    Attack {
        name: "abort",
        advice: "an event that ends its process does not become a dead letter",
        kind: Kind::Abort,
    },
    Attack {
        name: "contract",
        advice: "a storm broke the contract; ENSUE_SEED repeats its seed, which is above",
        kind: Kind::Contract,
    },
    Attack {
        name: "loom",
        advice: "an interleaving of the durable position breaks it; loom prints which",
        kind: Kind::Schedules("loom", &["--lib", "loom"]),
    },
    Attack {
        name: "shuttle",
        advice: "an interleaving of the commit queue breaks it; shuttle prints its schedule",
        kind: Kind::Schedules("shuttle", &["--test", "shuttle"]),
    },
];

impl Torture {
    pub(crate) fn run(self) -> bool {
        let mut steps = Steps::default();
        let is_wanted = |name: &str| self.only.is_empty() || self.only.iter().any(|it| it == name);
        for attack in ATTACKS.iter().filter(|attack| is_wanted(attack.name)) {
            steps.step(attack.name, || self.make(attack));
        }
        steps.close()
    }

    fn make(&self, attack: &Attack) -> Outcome {
        let advice = attack.advice;
        match attack.kind {
            Kind::Log => {
                let mut test = test("ensue-log", &["--test", "attack"]);
                self.enlarge(&mut test);
                let module = format!("{}::", attack.name);
                test.arg(module);
                run_tests(test, advice)
            }
            Kind::Mutation => {
                let test = test(
                    "ensue-log",
                    &["--features", "sabotage", "--test", "mutation"],
                );
                run_tests(test, advice)
            }
            Kind::Kill => {
                let cycles = if self.long { CYCLES_LONG } else { CYCLES };
                let mut kill = cargo();
                kill.args(["run", "--locked", "--profile", PROFILE, "-p", "torture"]);
                kill.args(["--", "kill", "--cycles", cycles]);
                run(quick(kill), advice)
            }
            Kind::Abort => run_tests(
                test("ensue", &["--all-features", "--test", "killer"]),
                advice,
            ),
            Kind::Contract => {
                let storms = if self.long { STORMS_LONG } else { STORMS };
                let rage = |_| {
                    let mut test = test("ensue", &["--all-features", "--test", "contract"]);
                    test.arg("storm");
                    run_tests(test, advice)
                };
                let mut outcomes = (0..storms).map(rage);
                let failed = outcomes.find(|outcome| *outcome != Outcome::Passed);
                failed.unwrap_or(Outcome::Passed)
            }
            Kind::Schedules(model, what) => {
                let mut test = test("ensue-log", what);
                // Another cfg builds everything anew: in its own directory, it does so once.
                test.arg("--target-dir").arg(target().join(model));
                test.env("RUSTFLAGS", format!("--cfg {model}"));
                self.enlarge(&mut test);
                run_tests(test, advice)
            }
        }
    }

    fn enlarge(&self, command: &mut Command) {
        if self.long {
            command.envs(SIZES_LONG);
        }
    }
}

/// `cargo test` of a package.
fn test(package: &str, what: &[&str]) -> Command {
    let mut command = cargo();
    command.args(["test", "--locked", "--profile", PROFILE, "-p", package]);
    command.args(what);
    quick(command)
}

/// Nothing is built a second time where nobody watches.
fn quick(mut command: Command) -> Command {
    if is_ci() {
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// Runs tests. None at all is a failure: an attack that is not made finds nothing.
fn run_tests(mut command: Command, advice: &str) -> Outcome {
    let line = shown(&command);
    say(format_args!("$ {line}"));
    let failed = |error| Outcome::Failed(format!("`{line}`: {error}"));
    command.stdout(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return failed(error),
    };
    let passed = child.stdout.take().map_or(0, count_passed);
    match child.wait() {
        Ok(status) if status.success() && passed > 0 => Outcome::Passed,
        Ok(status) if status.success() => {
            Outcome::Failed("not one test ran: where has the attack gone?".to_owned())
        }
        Ok(_) => Outcome::Failed(advice.to_owned()),
        Err(error) => failed(error),
    }
}

/// Passes on what tests say, and counts those that passed.
fn count_passed(output: impl Read) -> u64 {
    let lines = BufReader::new(output).lines();
    let mut passed = 0;
    for line in lines.map_while(Result::ok) {
        passed += passed_in(&line);
        say(line);
    }
    passed
}

/// The number in `test result: ok. 12 passed; 0 failed; …`; 0 in every other line.
fn passed_in(line: &str) -> u64 {
    let result = line.strip_prefix("test result: ok. ");
    let number = result.and_then(|rest| rest.split(' ').next());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tests_that_passed_count() {
        let said = "running 3 tests\n\
                    test power::one_appender ... ok\n\
                    test result: ok. 3 passed; 0 failed; 0 ignored\n\
                    test result: ok. 0 passed; 0 failed; 12 filtered out\n\
                    test result: FAILED. 5 passed; 1 failed\n";
        assert_eq!(count_passed(said.as_bytes()), 3);
        assert_eq!(count_passed("".as_bytes()), 0);
    }

    #[test]
    fn a_run_without_a_test_is_a_failure() {
        let quiet = |said| {
            let mut command = Command::new("echo");
            command.arg(said);
            run_tests(command, "advice")
        };
        assert!(matches!(
            quiet("test result: ok. 0 passed; 9 filtered out"),
            Outcome::Failed(_)
        ));
        assert_eq!(
            quiet("test result: ok. 2 passed; 0 failed"),
            Outcome::Passed
        );
    }

    #[test]
    fn every_attack_has_a_name_of_its_own() {
        let mut names = ATTACKS.map(|attack| attack.name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
