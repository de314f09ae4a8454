//! Test binaries: built by one `cargo test --no-run`, then run from here, some of them side by side.
//!
//! `cargo test` runs one binary after the other. Those that wait for servers leave the cores to
//! others meanwhile, so two rows of binaries run at a time: those that use the servers, of which
//! some kill them and want them for themselves, and those that do not.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cargo::target;
use crate::counted::passed;
use crate::say::say;
use crate::steps::{Outcome, shown};

/// Only a test that hangs takes so long, on any machine.
const LIMIT: Duration = Duration::from_secs(45 * 60);
/// How often to look whether a binary has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What `cargo test` prints its output to, in the target directory.
const LOGS: &str = "test-logs";
/// In an ordinary build there is no test in it: `cargo xtask torture` builds it for its own.
const EMPTY: &str = "shuttle";

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binary {
    pub(crate) package: String,
    pub(crate) target: String,
    /// Whether it is a file in `tests`, which has tests, or a library or a program, which may have
    /// some.
    is_integration: bool,
    program: PathBuf,
    /// Where its tests run: the package's directory.
    directory: PathBuf,
}

/// Binaries that run one after the other.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) binaries: Vec<Binary>,
    /// How many tests of a binary run side by side.
    pub(crate) threads: usize,
}

/// How they are run.
#[derive(Debug, Default)]
pub(crate) struct Manner {
    /// The file with the servers that were started for them.
    pub(crate) servers: Option<PathBuf>,
    /// Names of tests: only these, as libtest takes them.
    pub(crate) filters: Vec<String>,
}

/// Builds them with a `cargo test` that is told which.
pub(crate) fn build(mut test: Command) -> Result<Vec<Binary>, Outcome> {
    test.args(["--no-run", "--message-format=json-render-diagnostics"]);
    say(format_args!("$ {}", shown(&test)));
    let failed = |why: String| Err(Outcome::Failed(why));
    let mut child = match test.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return failed(format!("cannot run cargo: {error}")),
    };
    let messages = child.stdout.take().map(BufReader::new);
    let messages = messages.map(serde_json::Deserializer::from_reader);
    let messages: Result<Vec<Value>, _> = messages
        .into_iter()
        .flat_map(serde_json::Deserializer::into_iter)
        .collect();
    match (child.wait(), messages) {
        (Ok(status), Ok(messages)) if status.success() => {
            Ok(messages.iter().filter_map(Binary::of).collect())
        }
        (Ok(_), Err(error)) => failed(format!("cargo's messages are not JSON: {error}")),
        (Ok(_), _) => failed("the tests do not compile".to_owned()),
        (Err(error), _) => failed(format!("cannot wait for cargo: {error}")),
    }
}

impl Binary {
    /// What a message of cargo's says about a test binary; `None` if it is about something else.
    fn of(message: &Value) -> Option<Self> {
        let field = |path| message.pointer(path);
        let is_test = field("/profile/test")?.as_bool()?;
        let program = field("/executable")?.as_str().filter(|_| is_test)?;
        let manifest = Path::new(field("/manifest_path")?.as_str()?);
        let directory = manifest.parent()?;
        // `path+file:///…/crates/log#ensue-log@0.1.0`, or without a name that the path has.
        let (_, id) = field("/package_id")?.as_str()?.rsplit_once('#')?;
        let name = id.split_once('@').map(|(name, _)| name);
        let folder = directory.file_name()?.to_str()?;
        Some(Self {
            package: name.unwrap_or(folder).to_owned(),
            target: field("/target/name")?.as_str()?.to_owned(),
            is_integration: field("/target/kind/0")?.as_str() == Some("test"),
            program: PathBuf::from(program),
            directory: directory.to_path_buf(),
        })
    }

    pub(crate) fn name(&self) -> String {
        if self.package.replace('-', "_") == self.target {
            self.package.clone()
        } else {
            format!("{} {}", self.package, self.target)
        }
    }

    /// Runs it to its end, and says how that was; whether it was good, and how many tests passed.
    fn run(&self, threads: usize, manner: &Manner) -> Ran {
        let begin = Instant::now();
        let log = log(&self.name());
        let ended = log.as_ref().map_err(Clone::clone).and_then(|log| {
            let mut child = self.start(threads, manner, log)?;
            wait(&mut child, begin)
        });
        let output = log.and_then(|log| {
            let output = std::fs::read(&log).map_err(|error| error.to_string())?;
            Ok(String::from_utf8_lossy(&output).into_owned())
        });
        let output = output.unwrap_or_else(|error| format!("cannot read its output: {error}"));
        let passed = passed(&output);
        let is_missing = self.is_integration && passed == 0 && self.target != EMPTY;
        let why = match ended {
            Err(why) => Some(why),
            Ok(status) if !status.success() => Some(format!("FAILED, {status}")),
            Ok(_) if is_missing && manner.filters.is_empty() => {
                Some("FAILED: not one test ran".to_owned())
            }
            Ok(_) => None,
        };
        let took = begin.elapsed().as_secs_f64();
        let name = self.name();
        match &why {
            None if passed == 0 => {}
            None => say(format_args!("{took:7.1} s  {passed:4} passed  {name}")),
            Some(why) => say(format_args!("{output}\n{took:7.1} s  {name}: {why}")),
        }
        Ran {
            passed,
            failed: why.map(|_| name),
        }
    }

    fn start(&self, threads: usize, manner: &Manner, log: &Path) -> Result<Child, String> {
        let open = |file: Result<File, _>| file.map_err(|error| format!("no output: {error}"));
        let stdout = open(File::create(log))?;
        let stderr = open(stdout.try_clone())?;
        let mut command = Command::new(&self.program);
        command.current_dir(&self.directory);
        command.env("CARGO_MANIFEST_DIR", &self.directory);
        command.env("RUST_TEST_THREADS", threads.to_string());
        if let Some(servers) = &manner.servers {
            command.env("ENSUE_SERVICES", servers);
        }
        command.args(&manner.filters);
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        command
            .spawn()
            .map_err(|error| format!("does not start: {error}"))
    }
}

/// The file for a binary's output, which is kept.
fn log(name: &str) -> Result<PathBuf, String> {
    let logs = target().join(LOGS);
    std::fs::create_dir_all(&logs)
        .map_err(|error| format!("cannot make {}: {error}", logs.display()))?;
    Ok(logs.join(format!("{}.log", name.replace(' ', "-"))))
}

fn wait(child: &mut Child, begin: Instant) -> Result<ExitStatus, String> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if begin.elapsed() < LIMIT => std::thread::sleep(LOOK_EVERY),
            Ok(None) => {
                // It may have ended this very moment; it is waited for in any case.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("HANGS: killed after {} s", LIMIT.as_secs()));
            }
            Err(error) => return Err(format!("cannot be waited for: {error}")),
        }
    }
}

/// What came of one of them.
#[derive(Debug)]
struct Ran {
    passed: u64,
    /// The name of one that failed.
    failed: Option<String>,
}

/// Runs the rows side by side, and the binaries of a row one after the other; after a failure as
/// well, so that one run tells everything.
pub(crate) fn run_all(rows: &[Row], manner: &Manner) -> Outcome {
    let run = |row: &Row| {
        let ran = row.binaries.iter().map(|it| it.run(row.threads, manner));
        ran.collect::<Vec<_>>()
    };
    let ran: Vec<Ran> = std::thread::scope(|scope| {
        let rows: Vec<_> = rows.iter().map(|row| scope.spawn(|| run(row))).collect();
        let ended = rows.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended
            .flat_map(|row| row.unwrap_or_else(|_| vec![Ran::lost()]))
            .collect()
    });
    outcome(&ran)
}

impl Ran {
    /// A thread of ours that panicked.
    fn lost() -> Self {
        Self {
            passed: 0,
            failed: Some("a row of binaries that was cut off".to_owned()),
        }
    }
}

fn outcome(ran: &[Ran]) -> Outcome {
    let failed: Vec<_> = ran.iter().filter_map(|it| it.failed.as_deref()).collect();
    let passed: u64 = ran.iter().map(|it| it.passed).sum();
    say(format_args!("{passed} tests passed"));
    if !failed.is_empty() {
        return Outcome::Failed(format!(
            "{}; the output is above, and in {}",
            failed.join(", "),
            target().join(LOGS).display()
        ));
    }
    if passed == 0 {
        return Outcome::Failed("not one test ran".to_owned());
    }
    Outcome::Passed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A program that prints what it is told to and ends as it is told to.
    fn binary(target: &str, script: &str) -> Binary {
        let directory = std::env::temp_dir().join(format!("ensue-binary-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let program = directory.join(target);
        // Written by another process: a child that another test starts meanwhile would hold the file
        // open, and what is open for writing cannot be run.
        let write = "printf '#!/bin/sh\n%s\n' \"$1\" >\"$0\" && chmod 755 \"$0\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", write]).arg(&program).arg(script);
        assert!(shell.status().unwrap().success());
        Binary {
            package: "xtask-itself".to_owned(),
            target: target.to_owned(),
            is_integration: true,
            program,
            directory,
        }
    }

    #[test]
    fn cargo_says_which_test_binaries_it_built() {
        let message = |kind: &str, is_test: bool| {
            json!({
                "reason": "compiler-artifact",
                "package_id": "path+file:///src/crates/log#ensue-log@0.1.0",
                "manifest_path": "/src/crates/log/Cargo.toml",
                "target": {"kind": [kind], "name": "golden"},
                "profile": {"test": is_test},
                "executable": "/target/debug/deps/golden-1",
            })
        };
        let golden = Binary::of(&message("test", true)).unwrap();
        assert!(golden.is_integration);
        assert_eq!(golden.name(), "ensue-log golden");
        assert_eq!(golden.directory, Path::new("/src/crates/log"));
        assert!(!Binary::of(&message("bin", true)).unwrap().is_integration);
        assert_eq!(Binary::of(&message("bin", false)), None);
        assert_eq!(Binary::of(&json!({"reason": "build-finished"})), None);
    }

    #[test]
    fn every_binary_runs_and_each_failure_is_named() {
        let good = "echo 'test result: ok. 2 passed; 0 failed'";
        let row = |binaries| Row {
            binaries,
            threads: 1,
        };
        let empty = "echo 'test result: ok. 0 passed; 0 failed'";
        let rows = [
            row(vec![binary("bad", "exit 3"), binary("good", good)]),
            row(vec![binary("empty", empty)]),
        ];
        let manner = Manner::default();
        let Outcome::Failed(why) = run_all(&rows, &manner) else {
            panic!("two of them failed");
        };
        assert!(
            why.starts_with("xtask-itself bad, xtask-itself empty;"),
            "{why}"
        );
        let good = [row(vec![binary("good", good)])];
        assert_eq!(run_all(&good, &manner), Outcome::Passed);
        assert!(matches!(run_all(&[], &manner), Outcome::Failed(_)));
    }
}
