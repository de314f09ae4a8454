//! What the macros accept, and what they say about the rest.
//!
//! The messages are part of the framework: read each `.stderr` as its user would. What the compiler
//! says on its own is not here: it lists types of whatever crates happen to be compiled in.
//! `ENSUE_WRITE_MESSAGES=1 cargo test -p ensue --all-features --test ui` writes them again.
//!
//! Each case is given to the compiler as it is, with the crates that this test was compiled with:
//! nothing is built a second time.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use compiled_with::compiled_with;

const WRITE: &str = "ENSUE_WRITE_MESSAGES";
/// Where the framework's own sources are, as the compiler names them.
const OURS: &str = "crates/ensue/";

/// The cases of a directory, in order, relative to the package.
fn cases(kind: &str) -> Vec<PathBuf> {
    let cases = Path::new("tests/ui").join(kind);
    let files = std::fs::read_dir(&cases).unwrap();
    let names = files.map(|file| cases.join(file.unwrap().file_name()));
    let mut cases: Vec<_> = names
        .filter(|case| case.extension().is_some_and(|it| it == "rs"))
        .collect();
    cases.sort_unstable();
    assert!(!cases.is_empty(), "no case in {kind}");
    cases
}

/// Compiles a case; what becomes of it is written to `to`.
fn compile(case: &Path, emit: &str, to: &Path) -> Output {
    let (compiler, crates): (&str, &[&str]) = compiled_with!();
    let mut command = Command::new(compiler);
    command.arg(case);
    command.args(["--edition=2024", "--crate-type=bin", "--crate-name=case"]);
    command.args(["--color=never", "--diagnostic-width=140"]);
    command.arg(format!("--emit={emit}")).arg("-o").arg(to);
    // What the case does not use is of no interest.
    command.args(["-A", "unused_crate_dependencies"]);
    command.args(crates).output().unwrap()
}

/// Looks at every case, on all cores; `look` says what is wrong with it.
fn each(cases: &[PathBuf], look: impl Fn(&Path) -> Result<(), String> + Sync) {
    let left = Mutex::new(cases.iter());
    let wrong = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = left.lock().unwrap().next();
            let Some(case) = next else { break };
            if let Err(why) = look(case) {
                wrong.lock().unwrap().push(why);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort_unstable();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// What the compiler said, without summaries and without the lines of our own sources, which move.
/// The compiler does not show those: their paths are relative to the workspace's root, and it runs
/// in the package.
fn normalized(said: &[u8]) -> String {
    const SUMMARIES: [&str; 3] = [
        "error: aborting due to",
        "For more information about",
        "Some errors have detailed",
    ];
    let said = String::from_utf8_lossy(said);
    let lines = said
        .lines()
        .filter(|line| !SUMMARIES.iter().any(|it| line.starts_with(it)));
    let lines: Vec<_> = lines
        .map(|line| match line.split_once(OURS) {
            Some((before, place)) => {
                let file = place.split(':').next().unwrap_or(place);
                format!("{before}{file}")
            }
            None => line.to_owned(),
        })
        .collect();
    format!("{}\n", lines.join("\n").trim_end())
}

#[test]
fn accepted_programs_compile_without_a_warning_and_run() {
    let made = tempfile::tempdir().unwrap();
    each(&cases("pass"), |case| {
        let program = made.path().join(case.file_stem().unwrap());
        let compiled = compile(case, "link", &program);
        if !compiled.status.success() || !compiled.stderr.is_empty() {
            let said = normalized(&compiled.stderr);
            return Err(format!("{}:\n{said}", case.display()));
        }
        let ran = Command::new(&program).output().unwrap();
        match ran.status.success() {
            true => Ok(()),
            false => Err(format!("{}: {ran:?}", case.display())),
        }
    });
}

#[test]
fn refused_programs_are_told_what_to_do() {
    let made = tempfile::tempdir().unwrap();
    each(&cases("fail"), |case| {
        let compiled = compile(
            case,
            "metadata",
            &made.path().join(case.file_stem().unwrap()),
        );
        let said = normalized(&compiled.stderr);
        if compiled.status.success() {
            return Err(format!("{} compiles:\n{said}", case.display()));
        }
        let expected = case.with_extension("stderr");
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&expected, said).unwrap();
            return Ok(());
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        match said == expected {
            true => Ok(()),
            false => Err(format!(
                "{}, expected:\n{expected}\nbut it says:\n{said}\nIf that is better, {WRITE}=1 keeps it.",
                case.display()
            )),
        }
    });
}
