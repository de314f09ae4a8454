//! What came out: a row per check, printable and serialisable.

use std::fmt;

use serde::Serialize;

use super::Check;
use super::flaw::Flaw;

/// A promise that was not kept.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Failure {
    /// The check that found it.
    pub check: String,
    /// The point of the contract, 1 to 13; 0 when there is no such check.
    pub point: u8,
    /// What the contract says.
    pub expected: String,
    /// What the engine did.
    pub found: String,
    /// The line of the suite that noticed.
    pub at: String,
}

impl Failure {
    pub(super) fn new(check: &Check, flaw: &Flaw) -> Self {
        Self {
            check: check.name.to_owned(),
            point: check.point,
            expected: flaw.expected.clone(),
            found: flaw.found.clone(),
            at: flaw.at.to_string(),
        }
    }

    pub(super) fn unknown(name: &str) -> Self {
        Self {
            check: name.to_owned(),
            point: 0,
            expected: "the name of a check".to_owned(),
            found: format!("`{name}`"),
            at: String::new(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "point {} of the contract is broken: {}\n  expected {}\n  found {}\n  at {}",
            self.point, self.check, self.expected, self.found, self.at
        )
    }
}

impl fmt::Debug for Failure {
    /// As it displays: a test that returns it prints it this way.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

/// What became of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The engine does what it promises.
    Passed,
    /// The engine does not promise this.
    NotPromised(&'static str),
    /// The engine promises this and does not do it.
    Failed(Failure),
}

/// A check and its outcome.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Row {
    /// The check's name.
    pub check: &'static str,
    /// The point of the contract.
    pub point: u8,
    /// What became of it.
    pub outcome: Outcome,
}

/// The outcome of a run of the suite. Prints as a table.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The engine.
    pub subject: String,
    /// The checks that were run.
    pub rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(subject: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            rows: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, check: &Check, outcome: Outcome) {
        self.rows.push(Row {
            check: check.name,
            point: check.point,
            outcome,
        });
    }

    /// The promises that were not kept.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.rows.iter().filter_map(|row| match &row.outcome {
            Outcome::Failed(failure) => Some(failure),
            _ => None,
        })
    }

    /// Whether every promise was kept. `false` when no check was run: that proves nothing.
    pub fn is_kept(&self) -> bool {
        !self.rows.is_empty() && self.failures().next().is_none()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the contract on {}", self.subject)?;
        let width = self.rows.iter().map(|row| row.check.len()).max();
        let width = width.unwrap_or_default();
        let (mut passed, mut not_promised, mut failed) = (0, 0, 0);
        for row in &self.rows {
            write!(f, "{:>3}  {:<width$}  ", row.point, row.check)?;
            match &row.outcome {
                Outcome::Passed => {
                    passed += 1;
                    writeln!(f, "kept")?;
                }
                Outcome::NotPromised(need) => {
                    not_promised += 1;
                    writeln!(f, "not promised: {need}")?;
                }
                Outcome::Failed(failure) => {
                    failed += 1;
                    writeln!(f, "BROKEN")?;
                    writeln!(f, "       expected {}", failure.expected)?;
                    writeln!(f, "       found {}", failure.found)?;
                    writeln!(f, "       at {}", failure.at)?;
                }
            }
        }
        writeln!(
            f,
            "{passed} kept, {not_promised} not promised, {failed} broken"
        )
    }
}
