//! Care after a process ended without a word and without progress: which events may have ended it,
//! and what is recorded before they are delivered again.

use crate::delivery::group_session::GroupSession;
use crate::delivery::next_step::{Stop, Taken};
use crate::ids::MemberId;
use crate::model::group::Group;
use crate::model::record::Begin;

/// How many events are handled at the same time while the group is careful and nobody in
/// particular is suspected.
const BEGIN_EVENTS_MAX: usize = 64;

/// After a process ended without a word and without progress: a few events at a time, later one,
/// and a record before each, until those that may have ended it are done.
#[derive(Debug)]
pub(crate) struct CrashGuard {
    /// Events at or after this position cannot have ended it.
    pub(crate) until: u64,
    pub(crate) events_left: usize,
    pub(crate) retries_left: usize,
    /// The event whose attempt is being recorded.
    pub(crate) beginning: Option<u64>,
    /// The event that is being handled with care.
    pub(crate) held: Option<u64>,
}

impl CrashGuard {
    fn covers(&self, position: u64, is_aside: bool) -> bool {
        if is_aside {
            self.retries_left > 0
        } else {
            self.events_left > 0 && position < self.until
        }
    }

    pub(crate) fn delivered(&mut self, position: u64, is_aside: bool) {
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
}

impl GroupSession {
    /// After a crash: whether the event at `position` has to wait, or its attempt to be recorded.
    pub(crate) fn is_held_up(
        &mut self,
        group: &Group,
        member: MemberId,
        position: u64,
        is_aside: bool,
        taken: &Taken,
    ) -> Option<Stop> {
        let (held, boot) = (self.held(), self.boot);
        if group
            .begun
            .get(&position)
            .is_some_and(|attempt| attempt.boot == boot)
        {
            return None;
        }
        let careful = self.careful.as_ref()?;
        if careful.held.is_some() {
            return Some(Stop::Careful);
        }
        if !careful.covers(position, is_aside) {
            return None;
        }
        if held > 0 || !taken.deliveries.is_empty() || careful.beginning.is_some() {
            return Some(Stop::Careful);
        }
        let begins = self.begins(group, member, position, is_aside, careful.events_left);
        if let Some(careful) = &mut self.careful {
            careful.beginning = Some(position);
        }
        Some(Stop::Begin(begins))
    }

    /// The attempts to record together with the one at `position`. Most crashes are nobody's
    /// fault, so the first suspicion goes over many events at once, and counts against none of them;
    /// those that were out when the process ended again are taken one by one.
    fn begins(
        &self,
        group: &Group,
        member: MemberId,
        position: u64,
        is_aside: bool,
        events_left: usize,
    ) -> Vec<Begin> {
        let begin = |position| Begin {
            position,
            attempt: group.next_attempt(position, self.boot),
        };
        let is_suspect = |position: &u64| group.begun.contains_key(position);
        if is_aside || is_suspect(&position) {
            return vec![begin(position)];
        }
        let seats = self.seats.iter().filter(|seat| seat.member == member);
        let ready = seats.flat_map(|seat| &seat.ready).map(|it| it.position);
        // It is the first of them, unless it waits in a line.
        let ready = ready.skip_while(|it| *it <= position);
        std::iter::once(position)
            .chain(ready.take_while(|position| !is_suspect(position)))
            .take(events_left.clamp(1, BEGIN_EVENTS_MAX))
            .map(begin)
            .collect()
    }
}
