//! What was heard of the server and of other processes, and when.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::clocks::Clocks;
use super::frame::{Part, Stamp};
use crate::ids::{ProcessId, WriterId};
use crate::model::processes::{Process, Processes};
use crate::model::record::Gone;

/// What a process knows of the others.
#[derive(Debug)]
pub(super) struct Heard {
    /// How long a silent process keeps its keys.
    lease: Duration,
    /// When each process was last heard of.
    writers: HashMap<WriterId, Last>,
    /// The time of the last frame that was in the copy when it was opened.
    copied: i64,
    /// When this process had read everything that was there when it opened.
    up_to_date: Option<Instant>,
    /// Since when everything there was has been read, without a pause.
    current: Instant,
    /// When the last read ended.
    read: Instant,
    /// When this process last wrote.
    wrote: Instant,
    clocks: Clocks,
    /// Why the server cannot be reached, if it cannot.
    trouble: Option<String>,
    /// Why the engine has stopped, if it has: however reading goes after that.
    stopped: Option<String>,
}

/// When a process was last heard of.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// When the message was read.
    at: Instant,
    /// When its writer wrote it, by the writer's clock, in microseconds since the Unix epoch.
    time: i64,
}

/// How long ago a time in microseconds since the Unix epoch is.
fn since(time: i64, now: i64) -> Duration {
    Duration::from_micros(u64::try_from(now.saturating_sub(time)).unwrap_or(0))
}

impl Heard {
    pub(super) fn new(lease: Duration, clocks: Clocks) -> Self {
        let now = Instant::now();
        Self {
            lease,
            writers: HashMap::new(),
            copied: i64::MAX,
            up_to_date: None,
            current: now,
            read: now,
            wrote: now,
            clocks,
            trouble: None,
            stopped: None,
        }
    }

    /// The copy was opened, and its last frame was written at `time`.
    pub(super) fn opened_copy(&mut self, time: i64) {
        self.copied = time;
    }

    /// Everything is read that was there when this process opened.
    pub(super) fn is_up_to_date(&mut self) {
        self.up_to_date = Some(Instant::now());
    }

    /// A message was read, when this process's clock showed `clock`.
    pub(super) fn heard(&mut self, part: &Part, is_own: bool, clock: i64) {
        let last = Last {
            at: Instant::now(),
            time: part.stamp.time,
        };
        self.writers.insert(part.writer, last);
        if is_own {
            self.clocks.read_back(part.stamp, clock);
        } else {
            self.clocks.hear(part.writer, part.stamp);
        }
    }

    /// A read ended, in trouble or not. After trouble or a pause of its own, this process knows
    /// nothing of the others.
    pub(super) fn read(&mut self, trouble: Option<String>) {
        let now = Instant::now();
        if trouble.is_some() || self.trouble.is_some() || self.is_behind(now) {
            self.current = now;
        }
        self.read = now;
        self.trouble = trouble;
    }

    fn is_behind(&self, now: Instant) -> bool {
        now - self.read > self.lease / 2
    }

    /// This process wrote, and the server has it.
    pub(super) fn wrote(&mut self) {
        self.wrote = Instant::now();
    }

    /// Whether the others may think soon that this process is gone.
    pub(super) fn has_to_beat(&self) -> bool {
        self.wrote.elapsed() >= self.lease / 4
    }

    /// What a message says of time that is written now, when this process's clock shows `clock`.
    pub(super) fn stamp(&mut self, clock: i64) -> Stamp {
        self.clocks.stamp(clock, Instant::now())
    }

    /// The engine stops, for the first reason that is given.
    pub(super) fn stopped(&mut self, why: String) {
        self.stopped.get_or_insert(why);
    }

    pub(super) fn trouble(&self) -> Option<String> {
        let trouble = self.stopped.as_ref().or(self.trouble.as_ref());
        trouble.cloned().or_else(|| self.clocks.trouble())
    }

    pub(super) fn clocks(&mut self) -> &mut Clocks {
        &mut self.clocks
    }

    /// Whether the process was heard of after `since`.
    pub(super) fn has_heard(&self, writer: WriterId, since: Instant) -> bool {
        let last = self.writers.get(&writer);
        last.is_some_and(|last| last.at > since)
    }

    /// Whether a process has been silent for its lease, as far as is known here at `now`.
    ///
    /// What it wrote before this process was up to date may be old: its own time tells. Later it
    /// does not count, as the clocks of two machines differ.
    pub(super) fn is_silent(&self, process: &Process, now: i64) -> bool {
        let lease = match process.lease_micros {
            0 => self.lease,
            micros => Duration::from_micros(micros),
        };
        let Some(current_since) = self.up_to_date else {
            return false;
        };
        let silent = match self.writers.get(&process.writer) {
            Some(last) if last.at > current_since => last.at.elapsed(),
            Some(last) => since(last.time, now).max(current_since.elapsed()),
            // It wrote nothing after what the copy had when it was opened.
            None => since(self.copied, now).max(current_since.elapsed()),
        };
        silent > lease
    }

    /// The processes whose lease is over, as records that say so. `own` is this process.
    pub(super) fn expired(&mut self, processes: &Processes, own: ProcessId) -> Vec<Gone> {
        let now = Instant::now();
        self.writers
            .retain(|writer, _| processes.iter().any(|(_, it)| it.writer == *writer));
        if self.trouble.is_some() || self.is_behind(now) {
            return Vec::new();
        }
        let mut gone = Vec::new();
        // How many others would speak first.
        let mut elders = 0;
        for (boot, process) in processes.iter().filter(|(boot, _)| *boot != own) {
            let last = self.writers.get(&process.writer);
            let since = last.map_or(self.current, |last| last.at.max(self.current));
            let silent = now - since;
            // A process says itself how long it may be silent: it need not be told the same as this
            // one.
            let lease = Duration::from_micros(process.lease_micros).max(self.lease);
            if silent > lease + lease / 2 * elders.min(4) {
                let counter = Some(process.counter);
                gone.push(Gone { boot, counter });
            } else if boot < own {
                elders += 1;
            }
        }
        gone
    }
}
