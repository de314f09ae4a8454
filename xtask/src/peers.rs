//! `cargo xtask peers`: programs that others wrote, against the `ensue` that is built here. Each has a folder in
//! `peers` with a script `run`, which installs what it needs below the target directory and takes `ensue` as its
//! argument. Adding one is a line in `PEERS` and one in `peers/README.md`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::cargo::{cargo, is_ci, root, target};
use crate::say::say;
use crate::steps::{Outcome, Steps, run};

/// Only a peer that hangs takes so long, what it installs included.
const LIMIT: &str = "900s";
/// They wait for servers and for downloads most of the time.
const SIDE_BY_SIDE: usize = 2;
/// How a script says that it could not try: what it needs is neither here nor to be had.
const CANNOT_TRY: i32 = 77;
/// The command, as it is built.
const PROGRAM: &str = "ensue";

/// A folder of `peers`.
struct Peer {
    name: &'static str,
    /// Whether it is a part of `cargo xtask test`.
    is_quick: bool,
}

const PEERS: &[Peer] = &[
    quick("buf"),
    quick("cloudevents"),
    slow("deploy"),
    slow("ghz"),
    quick("grpc"),
    quick("h2spec"),
    quick("http-api"),
    quick("oidc-provider"),
    quick("openapi"),
    slow("otel-collector"),
    quick("otlp"),
    slow("promtool"),
    quick("schemathesis"),
    quick("sslyze"),
    quick("standard-webhooks"),
    slow("testssl"),
    quick("typescript"),
];

/// Takes seconds, and needs nothing but PyPI, npm and the Go proxy.
const fn quick(name: &'static str) -> Peer {
    let is_quick = true;
    Peer { name, is_quick }
}

/// Takes minutes, or needs more.
const fn slow(name: &'static str) -> Peer {
    let is_quick = false;
    Peer { name, is_quick }
}

/// Try programs that others wrote against `ensue`
#[derive(Args, Debug)]
pub(crate) struct Peers {
    /// Only these; without a name all of them, also those that `test` leaves out
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(PEERS.iter().map(|peer| peer.name)))]
    names: Vec<String>,
    /// This `ensue`, with all features, in place of one that is built now
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

impl Peers {
    pub(crate) fn run(self) -> bool {
        let is_wanted =
            |peer: &&Peer| self.names.is_empty() || self.names.iter().any(|it| it == peer.name);
        let mut steps = Steps::default();
        steps.step("peers", || {
            let program = self.program.clone().map_or_else(build, Ok);
            program.map_or_else(
                |failed| failed,
                |it| try_all(PEERS.iter().filter(is_wanted), &it, true),
            )
        });
        steps.close()
    }
}

/// Those that are a part of `cargo xtask test`; without leave to install, as far as they are installed.
pub(crate) fn quick_ones(may_install: bool) -> Outcome {
    let quick = PEERS.iter().filter(|peer| peer.is_quick);
    build().map_or_else(
        |failed| failed,
        |program| try_all(quick, &program, may_install),
    )
}

/// Builds `ensue` with what the tests are built with.
fn build() -> Result<PathBuf, Outcome> {
    let mut build = cargo();
    build.args([
        "build",
        "--workspace",
        "--all-features",
        "--locked",
        "--bin",
        PROGRAM,
    ]);
    match run(build, "`ensue` does not compile") {
        Outcome::Passed => Ok(target().join("debug").join(PROGRAM)),
        failed => Err(failed),
    }
}

/// Some side by side, also after a failure, so that one run tells everything.
fn try_all<'a>(
    peers: impl Iterator<Item = &'a Peer> + Send,
    program: &Path,
    may_install: bool,
) -> Outcome {
    let waiting = Mutex::new(peers);
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    };
    let row = || {
        let tried = std::iter::from_fn(next).map(|peer| {
            let directory = root().join("peers").join(peer.name);
            let outcome = try_one(peer.name, &directory, program, may_install);
            (peer.name, outcome)
        });
        tried.collect::<Vec<_>>()
    };
    let tried: Vec<_> = std::thread::scope(|scope| {
        let rows: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(row)).collect();
        let lost = || vec![("a row of peers", Outcome::Failed("was cut off".to_owned()))];
        let rows = rows.into_iter().map(std::thread::ScopedJoinHandle::join);
        rows.flat_map(|row| row.unwrap_or_else(|_| lost()))
            .collect()
    });
    outcome(&tried, is_ci())
}

/// Runs the script of one of them, and says how it went.
fn try_one(name: &str, directory: &Path, program: &Path, may_install: bool) -> Outcome {
    let begin = Instant::now();
    // It ends what the script started as well.
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10s", LIMIT]);
    command.arg(directory.join("run")).arg(program);
    command.env("PEERS_INSTALLED", target().join("peers"));
    command.env("PEERS_INSTALL", if may_install { "yes" } else { "no" });
    command.stdin(Stdio::null());
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return Outcome::Failed(format!("`timeout` does not start: {error}")),
    };
    let outcome = judge(&output);
    let took = begin.elapsed().as_secs_f64();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (said, wrong) = (text(&output.stdout), text(&output.stderr));
    match &outcome {
        Outcome::Passed => say(format_args!("{took:7.1} s  {name}: {}", last_line(&said))),
        Outcome::Skipped(why) => say(format_args!("{took:7.1} s  {name} WAS SKIPPED: {why}")),
        Outcome::Failed(why) => say(format_args!(
            "{said}{wrong}\n{took:7.1} s  {name} FAILED: {why}"
        )),
    }
    outcome
}

/// What a script's end means.
fn judge(output: &Output) -> Outcome {
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && !said.trim().is_empty() {
        Outcome::Passed
    } else if output.status.success() {
        Outcome::Failed("it does not say what it tried".to_owned())
    } else if output.status.code() == Some(CANNOT_TRY) {
        Outcome::Skipped(last_line(&said).to_owned())
    } else {
        Outcome::Failed(output.status.to_string())
    }
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().next_back().unwrap_or_default()
}

/// What all of them come to: under CI each has to be tried.
fn outcome(tried: &[(&str, Outcome)], is_ci: bool) -> Outcome {
    let (mut failed, mut skipped) = (Vec::new(), Vec::new());
    for (name, outcome) in tried {
        match outcome {
            Outcome::Passed => {}
            Outcome::Skipped(why) => skipped.push(format!("{name} ({why})")),
            Outcome::Failed(why) => failed.push(format!("{name} ({why})")),
        }
    }
    if is_ci {
        failed.append(&mut skipped);
    }
    if !failed.is_empty() {
        Outcome::Failed(format!(
            "{}; `peers/NAME/run ENSUE` runs one alone",
            failed.join("; ")
        ))
    } else if !skipped.is_empty() {
        Outcome::Skipped(format!("not tried: {}", skipped.join("; ")))
    } else if tried.is_empty() {
        Outcome::Failed("not one was tried".to_owned())
    } else {
        say(format_args!("{} peers passed", tried.len()));
        Outcome::Passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(script: &str) -> Outcome {
        let output = Command::new("sh").args(["-c", script]).output().unwrap();
        judge(&output)
    }

    #[test]
    fn a_script_that_says_nothing_has_tried_nothing() {
        assert_eq!(ends("echo 12 events"), Outcome::Passed);
        assert!(matches!(ends("exit 0"), Outcome::Failed(_)));
        assert!(matches!(ends("echo 12 events; exit 1"), Outcome::Failed(_)));
        assert!(matches!(ends("kill $$"), Outcome::Failed(_)));
        let skipped = Outcome::Skipped("no go".to_owned());
        assert_eq!(ends("echo installing; echo no go; exit 77"), skipped);
    }

    #[test]
    fn what_was_not_tried_fails_under_ci_and_is_said_by_hand() {
        let tried = |last| [("one", Outcome::Passed), ("two", last)];
        let skipped = tried(Outcome::Skipped("no go".to_owned()));
        assert!(matches!(outcome(&skipped, false), Outcome::Skipped(_)));
        assert!(matches!(outcome(&skipped, true), Outcome::Failed(_)));
        let failed = tried(Outcome::Failed("exit status: 1".to_owned()));
        assert!(matches!(outcome(&failed, false), Outcome::Failed(_)));
        assert_eq!(outcome(&tried(Outcome::Passed), true), Outcome::Passed);
        assert!(matches!(outcome(&[], false), Outcome::Failed(_)));
    }

    #[test]
    fn every_folder_is_in_the_table_and_in_the_readme() {
        let peers = root().join("peers");
        let entries = std::fs::read_dir(&peers).unwrap();
        let folders = entries
            .map(|it| it.unwrap())
            .filter(|it| it.path().join("run").is_file());
        let mut folders: Vec<_> = folders
            .map(|it| it.file_name().into_string().unwrap())
            .collect();
        let mut named: Vec<_> = PEERS.iter().map(|it| it.name).collect();
        folders.sort_unstable();
        named.sort_unstable();
        assert_eq!(folders, named);
        let readme = std::fs::read_to_string(peers.join("README.md")).unwrap();
        for peer in PEERS {
            let when = if peer.is_quick { "test" } else { "by hand" };
            let row = format!("\n| `{}` | {when} | ", peer.name);
            assert!(readme.contains(&row), "{row} is not in peers/README.md");
        }
    }
}
