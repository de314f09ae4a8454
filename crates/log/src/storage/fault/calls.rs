//! The calls that are made of a simulated disk: counted, traced, and which of them fail.

use std::collections::BTreeMap;
use std::io;

use super::{Call, Failure, Op};

#[derive(Default)]
pub(super) struct Calls {
    made: u64,
    counts: BTreeMap<Op, u64>,
    trace: Option<Vec<Call>>,
    rules: Vec<(Op, u64, Failure)>,
    power_off_after: Option<u64>,
}

impl Calls {
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    pub(super) fn count(&self, op: Op) -> u64 {
        self.counts.get(&op).copied().unwrap_or_default()
    }

    /// Makes the `nth` call of a kind from now on fail.
    pub(super) fn fail(&mut self, op: Op, nth: u64, failure: Failure) {
        self.rules.push((op, self.count(op) + nth, failure));
    }

    /// Fails every call after `calls` more.
    pub(super) fn power_off_after(&mut self, calls: u64) {
        self.power_off_after = Some(self.made + calls);
    }

    /// Forgets the failures that have not happened yet.
    pub(super) fn work_again(&mut self) {
        self.rules.clear();
        self.power_off_after = None;
    }

    /// Starts a new trace and gives the old one.
    pub(super) fn trace(&mut self) -> Vec<Call> {
        self.trace.replace(Vec::new()).unwrap_or_default()
    }

    /// Counts a call; says whether and how it fails.
    pub(super) fn make(
        &mut self,
        op: Op,
        name: &str,
        offset: u64,
        bytes: u64,
    ) -> io::Result<Option<Failure>> {
        if self.power_off_after.is_some_and(|after| self.made >= after) {
            return Err(io::Error::other("the power is off"));
        }
        self.made += 1;
        if let Some(trace) = &mut self.trace {
            trace.push(Call {
                op,
                name: name.to_owned(),
                offset,
                bytes,
            });
        }
        let count = self.counts.entry(op).or_default();
        *count += 1;
        let count = *count;
        let mut rules = self.rules.iter();
        let rule = rules.position(|(on, at, _)| *on == op && *at == count);
        match rule.map(|rule| self.rules.remove(rule).2) {
            None => Ok(None),
            Some(Failure::Eintr) => Err(io::ErrorKind::Interrupted.into()),
            Some(Failure::Enospc) => Err(io::ErrorKind::StorageFull.into()),
            Some(Failure::Short) if matches!(op, Op::Write | Op::Read) => Ok(Some(Failure::Short)),
            Some(_) => Ok(Some(Failure::Eio)),
        }
    }
}
