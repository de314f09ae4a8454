//! Which test binaries there are, which of them use servers, and which are fast.

use serde_json::Value;

use crate::binaries::{Binary, Row};
use crate::cargo::cargo;

/// They talk to the servers that were started for the tests. Some kill them, so that a test beside
/// them would lose its server: all that talk to one are here, one after the other.
const WITH_SERVERS: [(&str, &str); 17] = [
    ("ensue", "kills"),
    ("ensue", "aggregates"),
    ("ensue", "read_models"),
    ("ensue", "saga_kills"),
    ("ensue-sql", "inbox"),
    ("ensue-sql", "keys"),
    ("ensue-sql", "outbox"),
    ("ensue-sql", "projections"),
    ("orders", "command"),
    ("accounts", "command"),
    ("sensors", "command"),
    ("ensue-conformance", "distributed"),
    ("ensue-brokers", "ensue_brokers"),
    ("ensue-cli", "cli"),
    ("ensue-blocks", "locks"),
    ("ensue-blocks", "caches"),
    ("ensue-blocks", "configurations"),
];
/// They wait most of the time: for servers that start again, and for leases that run out.
const THREADS_WITH_SERVERS: usize = 8;
/// Some of these wait for the disk.
const THREADS: usize = 4;
/// Of the fast ones the longest wait for quiet most of the time, and use little of a processor.
const THREADS_FAST: usize = 8;
/// The longest of the others: started first, they do not keep all waiting at the end.
const LONG: [(&str, &str); 3] = [
    ("ensue-conformance", "contract"),
    ("torture", "kill"),
    ("ensue-log", "attack"),
];

/// Integration tests that are not fast.
const SLOW: [&str; 6] = [
    "attack",
    "distributed",
    "kill",
    "kills",
    "locks",
    "mutation",
];
/// Modules of tests that wait for time to pass.
const SLOW_MODULES: [&str; 1] = ["memory_in_real_time::"];
/// Programs with tests of their own that belong to every change.
const PROGRAMS: [&str; 3] = ["ensue", "orders", "xtask"];

/// What `--quick` does not do.
pub(super) const LEFT_OUT: &str = "  \
  tests with servers          kills, distributed, locks, the drills of the example
  attacks                     attack, mutation, kill
  tests that take real time   memory_in_real_time of contract
  rarely affected             bench, torture, running the examples, doctests, documentation
  other builds                each feature alone
  programs of others          peers
  dependencies                licences, bans, sources, advisories
`cargo xtask test` does all of that, and `cargo xtask torture` the attacks.";

/// Two rows of binaries to run side by side: all tests, or the fast ones.
pub(super) fn rows(binaries: Vec<Binary>, is_fast: bool) -> [Row; 2] {
    let place = |list: &[(&str, &str)], it: &Binary| {
        let names = (it.package.as_str(), it.target.as_str());
        list.iter().position(|&wanted| wanted == names)
    };
    // Without servers that row would end early.
    let is_longest = |it: &Binary| is_fast && place(&LONG, it) == Some(0);
    let (mut with, mut without): (Vec<_>, Vec<_>) = binaries
        .into_iter()
        .partition(|it| place(&WITH_SERVERS, it).is_some() || is_longest(it));
    with.sort_by_key(|it| place(&WITH_SERVERS, it));
    without.sort_by_key(|it| place(&LONG, it).unwrap_or(LONG.len()));
    let row = |binaries, threads| Row { binaries, threads };
    let threads = if is_fast { THREADS_FAST } else { THREADS };
    [row(with, THREADS_WITH_SERVERS), row(without, threads)]
}

/// Arguments of `cargo test`: which targets to build and run.
pub(super) fn fast() -> Result<Vec<String>, String> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--no-deps", "--format-version", "1"]);
    let output = metadata.output();
    let output = output.map_err(|error| format!("cannot run `cargo metadata`: {error}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("`cargo metadata` is not JSON: {error}"))?;
    Ok(arguments(&metadata))
}

fn arguments(metadata: &Value) -> Vec<String> {
    let list = |of: &Value, path| of.pointer(path).and_then(Value::as_array).cloned();
    let packages = list(metadata, "/packages").unwrap_or_default();
    let targets = packages.iter().filter_map(|it| list(it, "/targets"));
    let targets: Vec<_> = targets.flatten().collect();
    let text = |of: &'_ Value, path| of.pointer(path)?.as_str().map(str::to_owned);
    let tests = targets
        .iter()
        .filter(|it| text(it, "/kind/0").is_some_and(|kind| kind == "test"));
    let mut names: Vec<_> = tests.filter_map(|it| text(it, "/name")).collect();
    names.retain(|name| !SLOW.contains(&name.as_str()));
    names.sort_unstable();
    // Packages may share a name; cargo takes it for both.
    names.dedup();
    let programs = PROGRAMS.iter().flat_map(|name| ["--bin", name]);
    let tests = names.iter().flat_map(|name| ["--test", name]);
    let all = std::iter::once("--lib").chain(programs).chain(tests);
    all.map(str::to_owned).collect()
}

/// Arguments of a test binary.
pub(super) fn slow_tests() -> Vec<String> {
    let skip = SLOW_MODULES.iter().flat_map(|module| ["--skip", module]);
    skip.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_slow_is_neither_built_nor_run() {
        let target = |kind: &str, name: &str| json!({"kind": [kind], "name": name});
        let metadata = json!({"packages": [
            {"targets": [target("lib", "ensue"), target("test", "kills"), target("test", "corpus")]},
            {"targets": [target("test", "golden"), target("test", "corpus"), target("bench", "b")]},
        ]});
        let words = arguments(&metadata).join(" ");
        assert_eq!(
            words,
            "--lib --bin ensue --bin orders --bin xtask --test corpus --test golden"
        );
    }

    #[test]
    fn all_that_is_named_exists() {
        let fast = fast().unwrap();
        for known in ["contract", "dispatch", "cli", "golden"] {
            assert!(fast.iter().any(|it| it == known), "{known} in {fast:?}");
        }
        let said: Vec<_> = LEFT_OUT.split([' ', ',', '\n']).collect();
        for slow in SLOW {
            assert!(fast.iter().all(|it| it != slow), "{slow}");
            assert!(
                said.contains(&slow),
                "{slow} is left out, which is not said"
            );
        }
    }
}
