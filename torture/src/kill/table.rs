//! What an attack came to.

use std::fmt;

use serde_json::{Map, Value, json};

use super::Attack;
use super::checker::Kind;

/// Names and numbers.
pub(crate) struct Table {
    seed: u64,
    lines: Vec<(&'static str, u64)>,
    violations: Vec<(&'static str, u64)>,
    details: Value,
    seconds: f64,
}

impl Table {
    pub(super) fn of(attack: &Attack) -> Self {
        let totals = attack.checker.totals;
        let found = attack.checker.violations();
        let count = |kind| {
            found
                .iter()
                .filter(|violation| violation.kind == kind)
                .count() as u64
        };
        Self {
            seed: attack.seed,
            lines: vec![
                ("cycles", attack.done),
                ("killed while opening", attack.killed_opening),
                ("killed while working", attack.killed_working),
                ("events acknowledged", totals.acknowledged),
                ("commits acknowledged", totals.commits),
                ("effects of members", totals.bills),
                ("effects of handlers", totals.audits),
                ("retries", totals.retries),
                ("dead letters", totals.dead),
            ],
            violations: Kind::ALL.map(|kind| (kind.name(), count(kind))).into(),
            details: json!(found),
            seconds: attack.begin.elapsed().as_secs_f64(),
        }
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let object = |lines: &[(&'static str, u64)]| {
            let entry = |(name, number): &(&str, u64)| (name.replace(' ', "_"), json!(number));
            Value::Object(lines.iter().map(entry).collect::<Map<String, Value>>())
        };
        json!({
            "seed": self.seed,
            "done": object(&self.lines),
            "violations": object(&self.violations),
            "details": self.details,
            "seconds": self.seconds,
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, text: &str| writeln!(f, "{name:22}{text:>12}");
        line("seed", &self.seed.to_string())?;
        for (name, number) in &self.lines {
            line(name, &number.to_string())?;
        }
        line("seconds", &format!("{:.1}", self.seconds))?;
        for (name, number) in &self.violations {
            line(name, &number.to_string())?;
        }
        Ok(())
    }
}
