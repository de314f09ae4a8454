//! Care after a process ended without a word and without progress: which events may have ended it,
//! and what is recorded before they are delivered again.

use crate::engine::Position;
use crate::ids::ProcessId;
use crate::model::group::{Caution, Group};
use crate::model::record::Begin;

/// How many events are handled at the same time while the group is careful and no event in
/// particular is suspected.
const BEGIN_EVENTS_MAX: usize = 64;

/// After a process ended without a word and without progress: a few events at a time, later one,
/// and a record before each, until those that may have ended it are done.
#[derive(Debug)]
pub(crate) struct CrashGuard {
    /// Events at or after this position cannot have ended it.
    until: Position,
    events_left: usize,
    retries_left: usize,
    /// The event whose attempt is being recorded.
    beginning: Option<Position>,
    /// The event that is being handled with care.
    held: Option<Position>,
}

/// What to do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Deliver,
    /// Others have to finish first.
    Wait,
    /// To record first that its attempt begins.
    Begin,
}

impl CrashGuard {
    /// A guard, if care is due: with events before `end`, the durable end of the log, and with the
    /// `retries` that were put aside.
    pub(crate) fn new(
        caution: Caution,
        end: Position,
        in_flight_max: usize,
        retries: usize,
    ) -> Option<Self> {
        (caution.events || caution.retries).then_some(Self {
            until: end,
            events_left: if caution.events { in_flight_max } else { 0 },
            retries_left: if caution.retries { retries } else { 0 },
            beginning: None,
            held: None,
        })
    }

    fn covers(&self, position: Position, is_aside: bool) -> bool {
        if is_aside {
            self.retries_left > 0
        } else {
            self.events_left > 0 && position < self.until
        }
    }

    /// What to do with the event at `position`, whose attempt is not recorded; `is_busy` is whether
    /// others are in members' hands, or about to be.
    pub(crate) fn check(&mut self, position: Position, is_aside: bool, is_busy: bool) -> Verdict {
        if self.held.is_some() {
            return Verdict::Wait;
        }
        if !self.covers(position, is_aside) {
            return Verdict::Deliver;
        }
        if is_busy || self.beginning.is_some() {
            return Verdict::Wait;
        }
        self.beginning = Some(position);
        Verdict::Begin
    }

    /// The attempts to record together with the one at `position`; `ready` are the positions of what
    /// was read for its member. Most crashes are no event's fault, so the first suspicion goes over many
    /// events at once, and counts against none of them; those that were out when the process ended again
    /// are taken one by one.
    pub(crate) fn begins(
        &self,
        (group, process): (&Group, ProcessId),
        position: Position,
        is_aside: bool,
        ready: impl Iterator<Item = Position>,
    ) -> Vec<Begin> {
        let begin = |position| Begin {
            position,
            attempt: group.next_attempt(position, process),
        };
        let is_suspect = |position: Position| group.begun(position).is_some();
        if is_aside || is_suspect(position) {
            return vec![begin(position)];
        }
        // It is the first of them, unless it waits in a queue.
        let ready = ready.skip_while(|it| *it <= position);
        std::iter::once(position)
            .chain(ready.take_while(|position| !is_suspect(*position)))
            .take(self.events_left.clamp(1, BEGIN_EVENTS_MAX))
            .map(begin)
            .collect()
    }

    /// The record that attempts begin has an outcome.
    pub(crate) fn begin_ended(&mut self) {
        self.beginning = None;
    }

    /// The event at `position` goes into a member's hands.
    pub(crate) fn delivered(&mut self, position: Position, is_aside: bool) {
        if !self.covers(position, is_aside) {
            return;
        }
        self.held = Some(position);
        let left = if is_aside {
            &mut self.retries_left
        } else {
            &mut self.events_left
        };
        *left -= 1;
    }

    /// What was handled with care is not in a member's hands any more.
    pub(crate) fn came_back(&mut self) {
        self.held = None;
    }

    /// Whether everything that may have ended the process is done.
    pub(crate) fn is_over(&self) -> bool {
        self.events_left == 0 && self.retries_left == 0
    }
}
