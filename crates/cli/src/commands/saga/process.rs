//! A process of a saga as the commands show it.

use ensue::{SagaPhase, SagaProcess, SagaStuck, Timestamp};

use crate::commands::dead::cause_in_words;
use crate::failure::Failure;
use crate::human;
use crate::output::{Cell, Column, Table, Tone};

/// What a process does, in words.
pub(super) fn phase_in_words(phase: SagaPhase) -> &'static str {
    match phase {
        SagaPhase::Beginning => "beginning",
        SagaPhase::Acting => "acting",
        SagaPhase::Waiting => "waiting",
        SagaPhase::Undoing => "undoing",
        _ => "unknown",
    }
}

/// What it is stuck at, on one line.
pub(super) fn stuck_in_words(stuck: &SagaStuck) -> String {
    let attempts = human::counted(stuck.attempts as usize, "attempt");
    let cause = cause_in_words(stuck.cause);
    let reason = human::printable(&stuck.reason);
    format!("{cause} ({attempts}): {reason}")
}

/// One row a process.
pub(super) fn table(processes: &[SagaProcess], now: Timestamp) -> Table {
    /// Longer reasons are for `saga show`.
    const REASON_CHARS_MAX: usize = 80;
    use Column::Text;
    let mut table = Table::new(&[
        Text("SAGA"),
        Text("KEY"),
        Text("DOES"),
        Text("STEP"),
        Text("UNTIL"),
        Text("STUCK"),
        Text("WHY"),
    ]);
    for process in processes {
        let (stuck, why) = match (&process.stuck, &process.reason) {
            (Some(stuck), _) => (
                Cell::toned(Tone::Bad, human::relative(stuck.died, now)),
                stuck_in_words(stuck),
            ),
            (None, Some(reason)) => ("".into(), reason.clone()),
            (None, None) => ("".into(), String::new()),
        };
        let until = process.until.map(|until| human::relative(until, now));
        table.row([
            process.saga.as_str().into(),
            Cell::toned(Tone::Strong, &process.key),
            phase_in_words(process.phase).into(),
            process.step.as_str().into(),
            until.unwrap_or_default().into(),
            stuck,
            human::shorten(&why, REASON_CHARS_MAX).into(),
        ]);
    }
    table
}

/// There is no process of this key.
pub(super) fn unknown(saga: &str, key: &str) -> Failure {
    let (saga, key) = (human::printable(saga), human::printable(key));
    Failure::new(
        "unknown_process",
        format!("no process `{key}` of the saga `{saga}` runs"),
        format!(
            "`ensue saga list {saga}` lists those that run, `ensue saga show {saga} {key} --all` shows the path of \
             those that have ended"
        ),
    )
}
