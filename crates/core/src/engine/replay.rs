//! Moving a group: where to, and what becomes of what its events have led to already.
//!
//! `docs/replay.md` tells operators the same.

use serde::{Deserialize, Serialize};

use super::Start;
use crate::cursor::Cursor;

/// What becomes of the effects of events that a moved group handles again.
///
/// Either way the effects of events that the group had not settled before are published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayEffects {
    /// Nothing is appended, scheduled, cancelled or replied for them: only state and the position
    /// move. The default, because what was published cannot be taken back.
    #[default]
    HoldBack,
    /// They are published again, with ids of their own, so that dedup does not take them for those
    /// of the first time. Ids that a handler chose itself stay as they are.
    Publish,
}

/// What becomes of a moved group's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// It stays: what is handled again changes it a second time.
    Keep,
    /// It is cleared: it knows only what is handled from the new position on.
    Afresh,
}

/// How a group is moved.
///
/// ```
/// use ensue::Start;
/// use ensue::engine::{ReplayEffects, ReplayState, Reset};
///
/// let again = Reset::to(Start::Earliest)
///     .effects(ReplayEffects::Publish)
///     .state(ReplayState::Afresh);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a reset does nothing until an engine is told"]
pub struct Reset {
    /// Where to.
    pub to: Start,
    /// What becomes of the effects of what is handled again.
    pub effects: ReplayEffects,
    /// What becomes of the group's state; `None` is not said.
    pub state: Option<ReplayState>,
}

impl Reset {
    /// To this place, effects held back. Where the group has state and would handle events again,
    /// the state's fate has to be said too.
    pub fn to(to: Start) -> Self {
        Self {
            to,
            effects: ReplayEffects::default(),
            state: None,
        }
    }

    /// What becomes of the effects of what is handled again.
    pub fn effects(mut self, effects: ReplayEffects) -> Self {
        self.effects = effects;
        self
    }

    /// What becomes of the group's state.
    pub fn state(mut self, state: ReplayState) -> Self {
        self.state = Some(state);
        self
    }
}

impl From<Start> for Reset {
    fn from(to: Start) -> Self {
        Self::to(to)
    }
}

/// What a reset does, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResetPlan {
    /// The group.
    pub group: String,
    /// Where it is.
    pub from: Cursor,
    /// Where it will be: [`Start::Cursor`] moves it there, whatever is appended meanwhile.
    pub to: Cursor,
    /// How many events that it has settled it will handle again.
    pub again: u64,
    /// How many events that it has not handled it will skip.
    pub skipped: u64,
    /// How many events that wait for an attempt, or are parked, it gives up: those that it skips.
    pub dropped: usize,
    /// How many of its dead letters are handled again with the events around them.
    pub dead_again: usize,
    /// How many of its dead letters stay as they are.
    pub dead_kept: usize,
    /// How many cells of state it has.
    pub cells: usize,
    /// What becomes of the effects of events that are handled again.
    pub effects: ReplayEffects,
    /// What becomes of its state. `None`: that has to be said, or the reset is refused.
    pub state: Option<ReplayState>,
    /// How many events of the whole log wait for their time: they stay scheduled.
    pub scheduled: usize,
}

/// Which run of its group through the log a delivery belongs to.
///
/// A group's first member begins the first run, each reset another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Run {
    /// No other run of the group has this number: a part of the ids of its effects.
    pub number: u64,
    /// Whether the effects of this event are held back: an earlier run has settled it.
    pub holds_back: bool,
}
