//! A dead letter as the commands show it.

use ensue::engine::{DeadLetter, DeathCause};
use ensue::{Position, Timestamp};
use serde::Serialize;

use crate::human;
use crate::output::{Cell, Column, Table, Tone};

/// A dead letter without its payload.
#[derive(Serialize)]
pub(super) struct Letter {
    pub(super) group: String,
    pub(super) id: String,
    pub(super) source: String,
    pub(super) topic: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) key: String,
    pub(super) position: Position,
    pub(super) cause: DeathCause,
    pub(super) reason: String,
    pub(super) attempts: u32,
    pub(super) died: Timestamp,
    pub(super) parked: usize,
    pub(super) redriven: u32,
    /// Why the event itself cannot be read, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) damaged: Option<String>,
}

impl Letter {
    pub(super) fn of(letter: &DeadLetter) -> Self {
        Self {
            group: letter.group.clone(),
            id: letter.event.id().to_owned(),
            source: letter.event.source().to_owned(),
            topic: letter.topic.clone(),
            kind: letter.event_type.clone(),
            key: letter.key.clone(),
            position: letter.position,
            cause: letter.cause,
            reason: letter.reason.clone(),
            attempts: letter.attempts,
            died: letter.died,
            parked: letter.parked,
            redriven: letter.redriven,
            damaged: letter.envelope.as_ref().err().cloned(),
        }
    }
}

/// The cause in words.
pub(in crate::commands) fn cause_in_words(cause: DeathCause) -> &'static str {
    match cause {
        DeathCause::Undecodable => "payload does not decode",
        DeathCause::Rejected => "rejected by the handler",
        DeathCause::Exhausted => "every attempt failed",
        DeathCause::Crashed => "every attempt ended the process",
        DeathCause::Refused => "what its handler returned cannot be committed",
    }
}

/// One row a letter.
pub(super) fn table(letters: &[Letter], now: Timestamp) -> Table {
    /// Longer reasons are for `dead show`.
    const REASON_CHARS_MAX: usize = 80;
    use Column::{Number, Text};
    let mut table = Table::new(&[
        Text("GROUP"),
        Text("ID"),
        Text("TYPE"),
        Text("KEY"),
        Text("DIED"),
        Number("ATTEMPTS"),
        Number("PARKED"),
        Text("CAUSE"),
        Text("REASON"),
    ]);
    for letter in letters {
        table.row([
            letter.group.as_str().into(),
            Cell::toned(Tone::Strong, &letter.id),
            letter.kind.as_str().into(),
            letter.key.as_str().into(),
            human::relative(letter.died, now).into(),
            letter.attempts.to_string().into(),
            Cell::count(Tone::Warn, letter.parked),
            cause_in_words(letter.cause).into(),
            match &letter.damaged {
                None => human::shorten(&letter.reason, REASON_CHARS_MAX).into(),
                Some(why) => Cell::toned(Tone::Bad, format!("its record is damaged: {why}")),
            },
        ]);
    }
    table
}
