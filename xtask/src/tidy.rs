//! `cargo xtask tidy`: the rules of the architecture that clippy cannot say, checked over the sources.
//! `cargo test` runs them too. Clippy's are in `Cargo.toml` and `clippy.toml`: no unbounded queues, sockets
//! where they belong, reasons for what is allowed or ignored.

mod circles;
mod dependencies;
mod file_circles;
mod source;
mod text;
mod workspace;

use std::fmt;

use clap::Args;

use self::source::Source;
use self::workspace::Workspace;
use crate::cargo::root;
use crate::say::say;
use crate::steps::Outcome;

/// Check the rules of the architecture
#[derive(Args, Debug)]
pub(crate) struct Tidy {
    /// Only list the rules
    #[arg(long)]
    list: bool,
}

/// One rule: what it says, what to do when it is broken, and how to see that it is.
struct Rule {
    says: &'static str,
    remedy: &'static str,
    check: Check,
}

enum Check {
    /// Looks at one source file after the other.
    Source(fn(&Source) -> Vec<Breach>),
    /// Looks at what cargo knows.
    Workspace(fn(&Workspace) -> Vec<Breach>),
    /// Looks at all source files together.
    Sources(fn(&[Source]) -> Vec<Breach>),
}

/// Where a rule is broken, and by what.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    place: String,
    what: String,
}

impl Breach {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    remedy: {}", self.says, self.remedy)
    }
}

const RULES: &[Rule] = &[
    Rule {
        says: "the log knows neither tokio nor serde",
        remedy: "keep async and serialisation above it; the log takes and gives bytes",
        check: Check::Workspace(dependencies::log_is_pure),
    },
    Rule {
        says: "dependencies point one way: cli → server → ensue → brokers → engine → core and log; examples use ensue alone",
        remedy: "move the code to the lower crate, or make it part of the lower crate's public face",
        check: Check::Workspace(dependencies::point_one_way),
    },
    Rule {
        says: "rooms of a crate import downwards: no circle",
        remedy: "move what both need into the lower room, or let the upper one hand it down",
        check: Check::Sources(circles::rooms_import_downwards),
    },
    Rule {
        says: "files of a crate import downwards: no circle",
        remedy: "move what both need into a file below, or let the upper one hand it down",
        check: Check::Sources(file_circles::files_import_downwards),
    },
    Rule {
        says: "model and delivery know neither tasks nor the time",
        remedy: "hand the time in, and wait in the runtime",
        check: Check::Source(circles::model_and_delivery_are_pure),
    },
    Rule {
        says: "only the server and examples serve HTTP",
        remedy: "serve it in `crates/server`",
        check: Check::Workspace(dependencies::only_the_server_serves),
    },
    Rule {
        says: "rust-version is at least what every dependency needs",
        remedy: "raise `rust-version` in Cargo.toml, or pin an older version of the dependency",
        check: Check::Workspace(dependencies::msrv_is_true),
    },
    Rule {
        says: "only dispatch commits",
        remedy: "return effects to dispatch instead; it commits them with the position",
        check: Check::Source(text::only_dispatch_commits),
    },
    Rule {
        says: "a file has one subject and at most 600 lines",
        remedy: "split it by subject",
        check: Check::Source(text::files_are_short),
    },
    Rule {
        says: "a file is named after its subject",
        remedy: "name what it is about instead of `utils`, `common`, `helpers`, `misc`, `manager`",
        check: Check::Source(text::names_say_something),
    },
    Rule {
        says: "nothing is left for later in the code",
        remedy: "do it now, or open an issue and delete the mark",
        check: Check::Source(text::nothing_is_left_for_later),
    },
];

impl Tidy {
    pub(crate) fn run(self) -> bool {
        if self.list {
            for rule in RULES {
                say(rule);
            }
            return true;
        }
        match step() {
            Outcome::Passed => true,
            Outcome::Skipped(why) | Outcome::Failed(why) => {
                say(why);
                false
            }
        }
    }
}

/// All rules; says every breach.
pub(crate) fn step() -> Outcome {
    match breaches() {
        Err(error) => Outcome::Failed(error),
        Ok(breaches) if breaches.is_empty() => {
            say(format_args!("{} rules hold", RULES.len()));
            Outcome::Passed
        }
        Ok(breaches) => {
            for breach in &breaches {
                say(breach);
            }
            Outcome::Failed(format!("{} rules are broken", breaches.len()))
        }
    }
}

/// Every broken rule, with its places.
fn breaches() -> Result<Vec<String>, String> {
    let sources = source::all(&root())?;
    let workspace = Workspace::read()?;
    let mut broken = Vec::new();
    for rule in RULES {
        let breaches = match rule.check {
            Check::Source(check) => sources.iter().flat_map(check).collect(),
            Check::Sources(check) => check(&sources),
            Check::Workspace(check) => check(&workspace),
        };
        if breaches.is_empty() {
            continue;
        }
        let places = breaches
            .iter()
            .map(|b| format!("\n  {}: {}", b.place, b.what));
        broken.push(format!("BROKEN RULE: {rule}{}", places.collect::<String>()));
    }
    Ok(broken)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_sources_keep_the_rules() {
        let broken = super::breaches().unwrap();
        assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    }
}
