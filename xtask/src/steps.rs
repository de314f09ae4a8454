//! Steps: run in order, each with its heading and its duration, until the first one fails.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::say::say;

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// Not done, and why: said loudly, because it is not the same as passed.
    Skipped(String),
    /// What to do about it.
    Failed(String),
}

/// The steps of a run so far.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(&'static str, Outcome, Duration)>,
}

impl Steps {
    /// Runs a step, unless one has failed before.
    pub(crate) fn step(&mut self, name: &'static str, work: impl FnOnce() -> Outcome) {
        if self.has_failed() {
            return;
        }
        say(format_args!("\n=== {name}"));
        let begin = Instant::now();
        let outcome = work();
        let took = begin.elapsed();
        match &outcome {
            Outcome::Passed => {}
            Outcome::Skipped(why) => say(format_args!("!!! {name} WAS SKIPPED: {why}")),
            Outcome::Failed(advice) => say(format_args!("!!! {name} FAILED: {advice}")),
        }
        say(format_args!("=== {name}: {}", seconds(took)));
        self.done.push((name, outcome, took));
    }

    fn has_failed(&self) -> bool {
        let mut outcomes = self.done.iter().map(|(_, outcome, _)| outcome);
        outcomes.any(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    /// Prints the closing table; whether no step failed.
    pub(crate) fn close(self) -> bool {
        say("");
        let width = self.done.iter().map(|(name, ..)| name.len()).max();
        let width = width.unwrap_or_default();
        for (name, outcome, took) in &self.done {
            let (word, why) = match outcome {
                Outcome::Passed => ("passed", ""),
                Outcome::Skipped(why) => ("SKIPPED", why.as_str()),
                Outcome::Failed(advice) => ("FAILED", advice.as_str()),
            };
            let took = seconds(*took);
            say(format!("{name:width$}  {took:>8}  {word:7}  {why}").trim_end());
        }
        let total = self.done.iter().map(|(_, _, took)| *took).sum();
        say(format_args!("{:width$}  {:>8}", "in all", seconds(total)));
        !self.has_failed()
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Runs a command that says on its own what is wrong.
pub(crate) fn run(mut command: Command, advice: &str) -> Outcome {
    say(format_args!("$ {}", shown(&command)));
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(_) => Outcome::Failed(advice.to_owned()),
        Err(error) => Outcome::Failed(format!("`{}`: {error}", shown(&command))),
    }
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let program = words
        .first()
        .map_or("", |program| program.rsplit('/').next().unwrap_or(program));
    let rest = words.get(1..).unwrap_or_default().join(" ");
    format!("{program} {rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_runs_after_a_failure_and_a_skip_is_no_failure() {
        let mut steps = Steps::default();
        steps.step("one", || Outcome::Passed);
        steps.step("two", || Outcome::Skipped("no network".into()));
        assert!(!steps.has_failed());
        steps.step("three", || Outcome::Failed("mend it".into()));
        steps.step("four", || panic!("a step after a failure"));
        assert_eq!(steps.done.len(), 3);
        assert!(!steps.close());
    }
}
