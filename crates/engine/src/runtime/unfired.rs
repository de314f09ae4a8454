//! Scheduled events that are due and are not appended: status says so, and why.

use std::collections::BTreeMap;

use ensue_log as log;

use crate::engine::Position;
use crate::error::{EngineError, Error};
use crate::model::record::Firing;
use crate::model::schedule::Schedules;
use crate::runtime::lookup;
use crate::time::Timestamp;

/// So many that are overdue are looked at in another process's log.
const LOOKED_AT_MAX: usize = 256;

/// What keeps scheduled events from being appended.
#[derive(Debug, Default)]
pub(crate) struct Unfired {
    /// Those that cannot be appended, by the positions of their records, and why. They hold up no
    /// others, and stay scheduled: the next opening of the log tries them again.
    aside: BTreeMap<Position, (Firing, String)>,
    /// Why the others are not appended at present; that is tried again.
    refused: Option<String>,
}

impl Unfired {
    /// The due ones of `schedules` that cannot be read. Blocks.
    pub(crate) fn look(schedules: &Schedules, view: &log::View, now: Timestamp) -> Self {
        let mut unfired = Self::default();
        let due = schedules.iter().take_while(|((at, _), _)| *at <= now);
        for ((_, position), name) in due.take(LOOKED_AT_MAX) {
            if let Err(error @ Error::Engine(EngineError::Corrupt(_))) =
                lookup::scheduled_at(view, position)
            {
                let name = (**name).clone();
                unfired.set_aside(Firing { name, position }, &error, schedules);
            }
        }
        unfired
    }

    /// One cannot be appended.
    pub(crate) fn set_aside(&mut self, firing: Firing, error: &Error, schedules: &Schedules) {
        // Some may have been cancelled or moved: what is kept is never more than is scheduled.
        self.aside.retain(|_, (it, _)| schedules.is_pending(it));
        self.aside
            .insert(firing.position, (firing, error.to_string()));
    }

    pub(crate) fn is_aside(&self, position: Position) -> bool {
        self.aside.contains_key(&position)
    }

    /// None could be appended; whether that was known.
    pub(crate) fn refused(&mut self, error: &Error) -> bool {
        let text = error.to_string();
        self.refused.replace(text) == self.refused
    }

    /// All that was due and is not set aside was appended.
    pub(crate) fn went_through(&mut self) {
        self.refused = None;
    }

    /// What there is to say of it.
    pub(crate) fn trouble(&self, schedules: &Schedules) -> Option<String> {
        let mut aside = self.aside.values();
        let is_pending = |it: &&(Firing, String)| schedules.is_pending(&it.0);
        let Some((firing, why)) = aside.find(is_pending) else {
            let why = self.refused.as_ref()?;
            return Some(format!(
                "scheduled events that are due are not appended yet, which is tried again: {why}"
            ));
        };
        let name = &firing.name;
        let which = match aside.filter(is_pending).count() {
            0 => format!("the scheduled event {name} cannot be appended"),
            others => format!(
                "{} scheduled events cannot be appended, among them {name}",
                others + 1
            ),
        };
        Some(format!(
            "{which}: {why}; `ensue schedule cancel` with its name and `--source` gives it up"
        ))
    }
}
