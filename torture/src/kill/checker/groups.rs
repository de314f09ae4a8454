//! What groups got, what they committed, and what they must not get again.

use super::{Checker, Kind, Stream};
use crate::kill::orders::{Fate, KEYS, Mark, cell, number_in};
use crate::kill::report::{Decided, Group, Taken};

/// What is known of a group and a key. Orders of a key are done in order, so that the last number
/// says which are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lane {
    /// The last order that is done for certain: a commit was acknowledged, or was seen.
    pub(super) acknowledged: u64,
    /// The last order that a commit was begun for.
    pub(super) attempted: u64,
    /// What must be handled next in this process; `None` before anything was.
    expected: Option<u64>,
    /// The attempt that failed, durably, and of which order.
    failed: Option<(u64, u32)>,
    /// The dead letter that later orders wait behind.
    pub(super) parked_behind: Option<u64>,
}

impl Lane {
    /// A new process: what is next is what the log says.
    pub(super) fn begins(&mut self) {
        self.expected = None;
    }

    /// The last order that is done when the group has nothing left: what a killed process was
    /// committing was committed if it does not come again.
    pub(super) fn done(&self) -> u64 {
        match self.expected {
            None => self.attempted,
            Some(_) => self.acknowledged,
        }
    }

    /// Exactly so many are done.
    fn is_at(&mut self, number: u64) {
        self.acknowledged = number;
        self.attempted = number;
    }
}

impl Checker {
    pub(super) fn lane(&self, group: Group, key: usize) -> Option<&Lane> {
        self.lanes.get(&group)?.get(key)
    }

    pub(super) fn lane_mut(&mut self, group: Group, key: usize) -> Option<&mut Lane> {
        self.lanes.get_mut(&group)?.get_mut(key)
    }

    /// A member got an event.
    pub(super) fn took(&mut self, group: Group, taken: &Taken) {
        let mark = taken.mark;
        let name = group.name();
        let attempted = self.sent.get(mark.0).map_or(0, |sent| sent.attempted);
        if mark.1 > attempted {
            let what = format!("`{name}` got {mark}, which was never published");
            return self.accuse(Kind::Invented, what);
        }
        if self.order_hash(mark) != Some(taken.hash) {
            let what = format!("`{name}` got {mark}, which is not what was published");
            self.accuse(Kind::Altered, what);
        }
        let place = self.place(Stream::Orders, mark);
        if let Some(place) = place.filter(|place| place.position != taken.position) {
            let (found, position) = (taken.position, place.position);
            let what = format!("`{name}` got {mark} at {found}, it is at {position}");
            self.accuse(Kind::Reordered, what);
        }
        let flaw = match self.lane_mut(group, mark.0) {
            Some(lane) => lane.took(taken),
            None => None,
        };
        if let Some((kind, what)) = flaw {
            let attempt = taken.attempt;
            let what = format!("`{name}` got {mark}, attempt {attempt}: {what}");
            self.accuse(kind, what);
        }
    }

    /// A member begins to commit.
    pub(super) fn committing(&mut self, group: Group, member: usize, decided: Decided) {
        for mark in decided.settled.iter().chain(&decided.dead) {
            if let Some(lane) = self.lane_mut(group, mark.0) {
                lane.attempted = lane.attempted.max(mark.1);
            }
        }
        for (mark, _) in &decided.retried {
            if let Some(lane) = self.lane_mut(group, mark.0) {
                lane.expected = Some(mark.1);
            }
        }
        for mark in &decided.dead {
            self.letters.entry(*mark).or_default();
            let is_parked = self.orders.fate(*mark) == Fate::Parked;
            if let Some(lane) = self.lane_mut(group, mark.0).filter(|_| is_parked) {
                lane.parked_behind = Some(mark.1);
            }
        }
        self.committing.insert((group, member), decided);
    }

    /// The member's commit was acknowledged.
    pub(super) fn committed(&mut self, group: Group, member: usize) {
        let Some(decided) = self.committing.remove(&(group, member)) else {
            return self.accuse(Kind::Failed, "a commit was acknowledged that was not begun");
        };
        self.totals.commits += 1;
        self.totals.retries += decided.retried.len() as u64;
        self.totals.dead += decided.dead.len() as u64;
        for mark in decided.settled.iter().chain(&decided.dead) {
            if let Some(lane) = self.lane_mut(group, mark.0) {
                lane.acknowledged = lane.acknowledged.max(mark.1);
            }
        }
        for (mark, attempt) in &decided.retried {
            if let Some(lane) = self.lane_mut(group, mark.0) {
                lane.failed = Some((mark.1, *attempt));
            }
        }
        for mark in &decided.dead {
            if let Some(letter) = self.letters.get_mut(mark) {
                letter.is_certain = true;
            }
        }
    }

    /// An operator gives up a dead letter: what waits behind it may go on.
    pub(super) fn unblock(&mut self, mark: Mark) {
        if let Some(lane) = self.lane_mut(Group::Trials, mark.0)
            && lane.parked_behind == Some(mark.1)
        {
            lane.parked_behind = None;
        }
    }

    /// Everything in the log was looked at: each settled order has its bill, and of a commit that
    /// was not acknowledged all bills are there or none.
    pub(super) fn check_bills(&mut self) {
        self.check_commits(Group::Bills, |checker, key| {
            checker.count(Stream::Bills, key)
        });
        for key in 0..KEYS {
            let bills = self.count(Stream::Bills, key);
            self.settle_lane(Group::Bills, key, bills, Kind::Lost, "bills");
        }
    }

    /// What the cells of `tally` hold.
    pub(crate) fn sees_cells(&mut self, cells: &[Option<String>]) {
        let number = |cell: &Option<String>| match cell {
            Some(cell) => number_in(cell).unwrap_or(u64::MAX),
            None => 0,
        };
        let numbers: Vec<u64> = cells.iter().map(number).collect();
        self.check_commits(Group::Tally, |_, key| {
            numbers.get(key).copied().unwrap_or(0)
        });
        for (key, (found, number)) in cells.iter().zip(&numbers).enumerate() {
            let order = self.place(Stream::Orders, Mark(key, *number));
            let expected = order.map(|order| cell(*number, order.hash));
            if *found != expected {
                let what = format!("the cell of key-{key} is {found:?}, not {expected:?}");
                self.accuse(Kind::State, what);
            } else {
                self.settle_lane(Group::Tally, key, *number, Kind::State, "cell");
            }
        }
    }

    /// What is found says exactly how far a group is with a key.
    fn settle_lane(&mut self, group: Group, key: usize, found: u64, kind: Kind, what: &str) {
        let Some(lane) = self.lane_mut(group, key) else {
            return;
        };
        let (acknowledged, attempted) = (lane.acknowledged, lane.attempted);
        lane.is_at(found);
        if found < acknowledged || found > attempted {
            let name = group.name();
            let what = format!(
                "`{name}` has committed key-{key} up to {acknowledged} and attempted \
                 {attempted}; its {what} say {found}"
            );
            self.accuse(kind, what);
        }
    }

    /// Of a commit that was not acknowledged, everything is there or nothing: `done` says how far
    /// the group is with a key.
    fn check_commits(&mut self, group: Group, done: impl Fn(&Self, usize) -> u64) {
        let begun = self.committing.iter().filter(|((of, _), _)| *of == group);
        let mut torn = Vec::new();
        for ((_, member), decided) in begun {
            let is_there = |mark: &&Mark| mark.1 <= done(self, mark.0);
            let there = decided.settled.iter().filter(is_there).count();
            if there != 0 && there != decided.settled.len() {
                let all = decided.settled.len();
                let name = group.name();
                torn.push(format!("{there} of {all} of a commit of `{name}` {member}"));
            }
        }
        torn.into_iter()
            .for_each(|what| self.accuse(Kind::Torn, what));
    }
}

impl Lane {
    /// The group got an event of the key; what is wrong with that.
    fn took(&mut self, taken: &Taken) -> Option<(Kind, String)> {
        let number = taken.mark.1;
        let (first, last) = (self.acknowledged + 1, self.attempted + 1);
        if number < first {
            return Some((
                Kind::Redelivered,
                format!("{} is settled", self.acknowledged),
            ));
        }
        if taken.is_stale {
            return None;
        }
        if let Some(dead) = self.parked_behind.filter(|dead| number > *dead) {
            return Some((Kind::Reordered, format!("it must wait behind {dead}")));
        }
        if let Some((_, failed)) = self.failed.filter(|(of, _)| *of == number)
            && taken.attempt <= failed
        {
            return Some((Kind::Redelivered, format!("attempt {failed} has failed")));
        }
        let expected = self.expected.replace(number + 1);
        if let Some(expected) = expected {
            let kind = if number > expected {
                Kind::Reordered
            } else {
                Kind::Redelivered
            };
            return (number != expected).then(|| (kind, format!("{expected} is next")));
        }
        if number > last {
            return Some((Kind::Lost, format!("{first} to {last} is next")));
        }
        // It is the first of its key in this process: those before it are done.
        self.acknowledged = number - 1;
        None
    }
}
