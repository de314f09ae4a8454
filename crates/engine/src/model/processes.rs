//! The processes that work on one log by way of a shared one: who lives, and how far each has
//! written. Empty for a log with one owner.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::{Framed, Opened};
use crate::engine::Position;
use crate::ids::{FrameNumber, ProcessId, Seal, Secret, WriterId};

/// The fold of what processes say of themselves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Processes {
    /// By the positions of the records that they opened with.
    processes: BTreeMap<ProcessId, Process>,
    /// What keys are hashed with, so that all processes agree who has which.
    seed: Option<u64>,
    /// The last frame that was folded.
    mark: Option<Mark>,
}

/// A process that opened the log and is not gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// What its frames say they are from.
    pub(crate) writer: WriterId,
    /// The number of its last frame.
    pub(crate) counter: FrameNumber,
    /// The time of its last frame that counts, as it says, in microseconds since the Unix epoch.
    #[serde(default)]
    pub(crate) time: i64,
    /// For people.
    pub(crate) name: String,
    /// How long it may be silent, in microseconds.
    #[serde(default)]
    pub(crate) lease_micros: u64,
    /// The process that shows the secret that this is the seal of takes its place: this one is gone.
    #[serde(default)]
    seal: Option<Seal>,
}

/// The seal of a secret, from which the secret cannot be told: the UUID of version 5 (SHA-1).
pub(crate) fn seal_of(secret: Secret) -> Seal {
    /// Random, never to be changed: what processes write depends on it.
    const SEALS: uuid::Uuid = uuid::uuid!("5d0c3a6e-9a43-4a57-8f0b-6a2f1b7d9e14");
    let (high, low) = secret.halves();
    let secret = uuid::Uuid::from_u64_pair(high, low);
    uuid::Uuid::new_v5(&SEALS, secret.as_bytes())
        .as_u64_pair()
        .into()
}

/// The last frame of the shared log that is in this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Where its record is.
    pub(crate) position: Position,
    /// Its sequence number in the shared log, and its checksum.
    pub(crate) sequence: u64,
    pub(crate) checksum: u32,
    /// From where the shared log has to be read again: frames in several messages may be under
    /// way.
    pub(crate) resume: u64,
    /// The log's time, in microseconds since the Unix epoch.
    #[serde(default)]
    pub(crate) time: i64,
}

impl Processes {
    /// Whether the log is the replica of a shared one.
    pub(crate) fn is_shared(&self) -> bool {
        self.seed.is_some()
    }

    /// The last frame that was folded.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.mark
    }

    pub(crate) fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// A process opens; those whose secrets it shows are gone. Whether there were any.
    pub(crate) fn open(&mut self, position: Position, opened: &Opened) -> bool {
        self.seed.get_or_insert(opened.writer.seed());
        let before = self.processes.len();
        if !opened.follows.is_empty() {
            let seals: Vec<Seal> = opened.follows.iter().copied().map(seal_of).collect();
            let is_gone = |process: &Process| process.seal.is_some_and(|it| seals.contains(&it));
            self.processes.retain(|_, process| !is_gone(process));
        }
        let has_followed = self.processes.len() < before;
        let process = Process {
            writer: opened.writer,
            counter: FrameNumber::START,
            time: 0,
            name: opened.name.clone(),
            lease_micros: opened.lease_micros,
            seal: opened.seal,
        };
        self.processes
            .insert(ProcessId::new(position.get()), process);
        has_followed
    }

    pub(crate) fn remove(&mut self, boot: ProcessId) {
        self.processes.remove(&boot);
    }

    pub(crate) fn framed(&mut self, position: Position, framed: &Framed) {
        let mut processes = self.processes.values_mut();
        if let Some(process) = processes.find(|it| it.writer == framed.writer) {
            process.counter = framed.counter;
            if let Some(claimed) = framed.claimed {
                process.time = claimed;
            }
        }
        self.mark = Some(Mark {
            position,
            sequence: framed.sequence,
            checksum: framed.checksum,
            resume: framed.resume,
            time: framed.time,
        });
    }

    /// Whether the process that opened with the record at `boot` lives.
    pub(crate) fn is_alive(&self, boot: ProcessId) -> bool {
        self.processes.contains_key(&boot)
    }

    pub(crate) fn get(&self, boot: ProcessId) -> Option<&Process> {
        self.processes.get(&boot)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ProcessId, &Process)> {
        self.processes
            .iter()
            .map(|(boot, process)| (*boot, process))
    }
}

/// What the shared log's fold asks.
impl Processes {
    pub(crate) fn of_writer(&self, writer: WriterId) -> Option<(ProcessId, &Process)> {
        self.iter().find(|(_, process)| process.writer == writer)
    }

    /// The log's time, in microseconds since the Unix epoch.
    pub(crate) fn time(&self) -> i64 {
        self.mark.map_or(0, |mark| mark.time)
    }

    /// The log's time with a frame of `writer`, which says that it is `claimed`; and that claim, if
    /// it counts. What a process opens with does not, where there are others to compare its clock
    /// with first.
    ///
    /// The log's time never goes back. Where it is later than a process says, because one that was
    /// ahead was alone, it goes on at half the pace until they have caught up: it does not stand
    /// still.
    pub(crate) fn time_at(&self, writer: WriterId, claimed: i64) -> (i64, Option<i64>) {
        /// How far one frame moves the log's time when that is late, in microseconds.
        const PROGRESS_MAX: i64 = 60_000_000;
        let time = self.time();
        let Some((_, process)) = self.of_writer(writer) else {
            if self.processes.is_empty() {
                return (claimed.max(time), Some(claimed));
            }
            return (time, None);
        };
        if claimed > time {
            return (claimed, Some(claimed));
        }
        let progress = match process.time {
            0 => 0,
            before => claimed.saturating_sub(before).clamp(0, PROGRESS_MAX),
        };
        // At least the process of `writer` lives.
        let pace = progress / (self.processes.len() as i64 * 2);
        (time.saturating_add(pace), Some(claimed))
    }

    /// The process that does what only one has to do.
    pub(crate) fn leader(&self) -> Option<ProcessId> {
        self.processes.keys().next().copied()
    }
}
