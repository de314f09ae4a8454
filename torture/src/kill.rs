//! `torture kill`: one process after the other uses the same directory until it is killed.
//!
//! A child says what it is about to do and what was acknowledged; its parent kills it at a random
//! instant, looks at what it left, and starts the next. Nothing that was acknowledged may be
//! missing, and nothing may be there that was not attempted.

mod checker;
mod child;
mod inspect;
mod orders;
mod plan;
mod process;
mod report;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use self::checker::{Checker, Kind};
pub(crate) use self::child::child;
use self::plan::Plan;
use self::process::{End, Process};
use self::report::Task;
use self::table::Table;

/// Everything is looked at once more after so many cycles.
const REVIEW_CYCLES: u64 = 25;
/// How long opening takes until it has been measured.
const OPENING: Duration = Duration::from_millis(10);

/// Kill processes at random instants and look for what they were promised
#[derive(Args, Debug)]
pub(crate) struct Kill {
    /// How many processes are killed
    #[arg(long, default_value_t = 50)]
    cycles: u64,
    /// What everything random derives from, as far as processes allow; random if left out
    #[arg(long)]
    seed: Option<u64>,
    /// Where to work, a directory that is empty or missing; a temporary one if left out
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Kill {
    pub(crate) fn run(self) -> ExitCode {
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
        match self.attack(seed) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("error: the attack could not be made: {error}");
                ExitCode::from(2)
            }
        }
    }

    /// Whether every promise was kept.
    fn attack(&self, seed: u64) -> std::io::Result<bool> {
        let temporary = match &self.directory {
            Some(directory) => {
                fs::create_dir_all(directory)?;
                if fs::read_dir(directory)?.next().is_some() {
                    let what = format!("{} is not empty", directory.display());
                    return Err(std::io::Error::other(what));
                }
                None
            }
            None => Some(tempfile::Builder::new().prefix("ensue-kill-").tempdir()?),
        };
        let given = self.directory.as_deref();
        let directory = temporary.as_ref().map(tempfile::TempDir::path).or(given);
        let directory = directory.unwrap_or(Path::new(".")).to_owned();
        eprintln!(
            "seed {seed}, {} cycles, in {}",
            self.cycles,
            directory.display()
        );
        let mut attack = Attack::new(seed, self.cycles, &directory);
        attack.run()?;
        let table = Table::of(&attack);
        if self.json {
            println!("{}", table.json())
        } else {
            print!("{table}")
        }
        let is_good = attack.checker.violations().is_empty();
        if !is_good {
            let kept = temporary.map_or(directory, tempfile::TempDir::keep);
            self.explain(&attack, seed, &kept);
        }
        Ok(is_good)
    }

    fn explain(&self, attack: &Attack, seed: u64, kept: &Path) {
        let violations = attack.checker.violations();
        for violation in violations.iter().take(20) {
            eprintln!("VIOLATION in cycle {}: {violation}", attack.done);
        }
        if violations.len() > 20 {
            eprintln!("and {} more", violations.len() - 20);
        }
        eprintln!(
            "the log and what its processes said are kept in {}",
            kept.display()
        );
        let cycles = self.cycles;
        eprintln!("again: cargo run --release -p torture -- kill --cycles {cycles} --seed {seed}");
    }
}

/// An attack so far.
struct Attack {
    seed: u64,
    cycles: u64,
    directory: PathBuf,
    checker: Checker,
    /// How long opening takes, about.
    opening: Duration,
    done: u64,
    killed_opening: u64,
    killed_working: u64,
    begin: Instant,
}

impl Attack {
    fn new(seed: u64, cycles: u64, directory: &Path) -> Self {
        Self {
            seed,
            cycles,
            directory: directory.to_owned(),
            checker: Checker::new(seed),
            opening: OPENING,
            done: 0,
            killed_opening: 0,
            killed_working: 0,
            begin: Instant::now(),
        }
    }

    /// Kills and looks, until something is wrong or the cycles are over; then lets one process
    /// finish, and looks at everything.
    fn run(&mut self) -> std::io::Result<()> {
        for cycle in 0..self.cycles {
            let plan = Plan::of(self.seed, cycle, self.opening);
            self.cycle(cycle, &plan)?;
            self.done = cycle + 1;
            inspect::look(
                &self.log(),
                &mut self.checker,
                self.done.is_multiple_of(REVIEW_CYCLES),
            );
            if !self.checker.violations().is_empty() {
                return Ok(());
            }
            self.say_progress();
        }
        eprintln!("the last process handles what is left");
        self.cycle(self.cycles, &Plan::last(self.seed))?;
        inspect::look(&self.log(), &mut self.checker, true);
        self.checker.finish();
        Ok(())
    }

    fn cycle(&mut self, cycle: u64, plan: &Plan) -> std::io::Result<()> {
        self.checker.begins();
        let task = Task {
            directory: self.log().display().to_string(),
            seed: self.seed,
            cycle,
            terms: plan.terms.clone(),
            next: self.checker.next(),
            is_last: plan.instant == plan::Instant::Never,
        };
        let said = self.directory.join(format!("said-{cycle}.jsonl"));
        let process = Process::start(&task, &said)?;
        let end = process.live(plan.instant, &mut self.checker)?;
        match end {
            End::KilledOpening => self.killed_opening += 1,
            End::KilledWorking { opening } => {
                self.killed_working += 1;
                self.opening = (self.opening * 3 + opening) / 4;
            }
            End::Finished => {}
            End::Itself { status } => {
                let what = format!("a process ended without being killed: {status}");
                self.checker.accuse(Kind::Failed, what);
            }
            End::Stuck => self
                .checker
                .accuse(Kind::Failed, "a process does nothing any more"),
        }
        // What the last two processes said is enough to understand.
        if let Some(old) = cycle.checked_sub(2) {
            let _ = fs::remove_file(self.directory.join(format!("said-{old}.jsonl")));
        }
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn say_progress(&self) {
        let every = if self.cycles > 200 { 50 } else { 10 };
        if self.done.is_multiple_of(every) {
            let totals = self.checker.totals;
            eprintln!(
                "{} of {} cycles, {} events acknowledged, {} commits, {} s",
                self.done,
                self.cycles,
                totals.acknowledged,
                totals.commits,
                self.begin.elapsed().as_secs(),
            );
        }
    }
}
