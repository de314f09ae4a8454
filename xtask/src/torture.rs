//! `cargo xtask torture`: every attack on Ensue, one after the other, each with its duration.

use std::process::Command;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::cargo::{cargo, target};
use crate::counted::run_tests;
use crate::steps::{Outcome, Steps};

/// Optimised, and linked without the optimisations that take a minute for each test binary. The
/// attacks on the log try ten times as much in such a build, which is soon made: the log has few
/// dependencies. Those on the engine have many, and do not try more because they are faster: in
/// their short form they take the build that the tests are run in.
const PROFILE: &str = "torture";
/// How many processes are killed.
const CYCLES: &str = "50";
const CYCLES_LONG: &str = "1000";
/// How many of those that run a saga, on each engine.
const SAGA_KILLS: &str = "50";
const SAGA_KILLS_LONG: &str = "1000";
/// For how long handlers misbehave, in seconds.
const STOPS_SECONDS: &str = "30";
const STOPS_SECONDS_LONG: &str = "3600";
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
    /// The engine of the attack `stops`, a server's URL, in place of the embedded one
    #[arg(long)]
    url: Option<String>,
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
    /// Processes that run a saga are killed.
    Sagas,
    /// Handlers misbehave.
    Stops,
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

const ATTACKS: [Attack; 17] = [
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
        name: "sagas",
        advice: "a saga ended twice or not at all, or something was done or undone twice; its path is above",
        kind: Kind::Sagas,
    },
    Attack {
        name: "stops",
        advice: "a group stopped in silence, or lost or repeated something; its seed is above",
        kind: Kind::Stops,
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
                let mut test = self.on_log(&["--test", "attack"]);
                test.arg(format!("{}::", attack.name));
                run_tests(test, advice)
            }
            Kind::Mutation => {
                let mutation = ["--features", "sabotage", "--test", "mutation"];
                run_tests(self.on_log(&mutation), advice)
            }
            Kind::Kill => {
                let mut kill = self.on_engine("kill");
                kill.env(
                    "ENSUE_KILL_CYCLES",
                    if self.long { CYCLES_LONG } else { CYCLES },
                );
                // It tells how far it is.
                kill.args(["--", "--nocapture"]);
                run_tests(kill, advice)
            }
            Kind::Sagas => {
                let mut sagas = self.on_engine("saga_kills");
                let kills = if self.long {
                    SAGA_KILLS_LONG
                } else {
                    SAGA_KILLS
                };
                sagas.env("ENSUE_SAGA_KILLS", kills);
                // Servers are attacked where they are; under CI `cargo xtask test` did it, with fewer kills.
                if std::env::var_os("ENSUE_SERVICES").is_none() {
                    sagas.arg("on_an_embedded_log");
                }
                run_tests(sagas, advice)
            }
            Kind::Stops => {
                let mut stops = self.on_engine("stops");
                stops.env(
                    "ENSUE_STOPS_SECONDS",
                    if self.long {
                        STOPS_SECONDS_LONG
                    } else {
                        STOPS_SECONDS
                    },
                );
                if let Some(url) = &self.url {
                    stops.env("ENSUE_STOPS_URL", url);
                }
                stops.args(["--", "--nocapture"]);
                run_tests(stops, advice)
            }
            Kind::Abort => run_tests(self.on_engine("killer"), advice),
            Kind::Contract => {
                let storms = if self.long { STORMS_LONG } else { STORMS };
                let rage = |_| {
                    let mut test = self.on_engine("contract");
                    test.arg("storm");
                    run_tests(test, advice)
                };
                let mut outcomes = (0..storms).map(rage);
                let failed = outcomes.find(|outcome| *outcome != Outcome::Passed);
                failed.unwrap_or(Outcome::Passed)
            }
            Kind::Schedules(model, what) => {
                let mut test = self.on_log(what);
                // Another cfg builds everything again: in its own directory, it does so once.
                test.arg("--target-dir").arg(target().join(model));
                test.env("RUSTFLAGS", format!("--cfg {model}"));
                run_tests(test, advice)
            }
        }
    }

    /// Tests of the log.
    fn on_log(&self, what: &[&str]) -> Command {
        let mut test = cargo();
        test.args(["test", "--locked", "--profile", PROFILE, "-p", "ensue-log"]);
        test.args(what);
        if self.long {
            test.envs(SIZES_LONG);
        }
        test
    }

    /// A test of the engine: in its short form with the same features and in the same profile as in
    /// `cargo xtask test`, which has built it then.
    fn on_engine(&self, name: &str) -> Command {
        let mut test = cargo();
        test.args(["test", "--locked", "--workspace", "--all-features"]);
        test.args(["--test", name]);
        if self.long {
            test.args(["--profile", PROFILE]);
        }
        test
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_has_a_name_of_its_own() {
        let mut names = ATTACKS.map(|attack| attack.name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
