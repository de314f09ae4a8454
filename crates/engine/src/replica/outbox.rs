//! Batches on their way into the shared log, in the order in which they were submitted.
//!
//! `unsent` batches become the next frame; `sent` frames are kept until they are read back, so that
//! they can be sent again. A frame that was read back counts as durable when an append that began
//! after that, or the one that carried it, was acknowledged.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ensue_log as log;
use tokio::sync::{Notify, watch};

use super::frame::{Head, Stamp};
use super::succession::Succession;
use crate::error::{EngineError, Error, Result};
use crate::ids::{FrameNumber, Secret, WriterId};
use crate::model::change::Change;
use crate::model::processes::seal_of;
use crate::model::record::Opened;
use crate::model::refusal::Refusal;
use crate::pending_write::ticket::Ticket;
use crate::pending_write::{PendingWrite, Room};
use crate::runtime::write_sink::WriteSink;

/// How many bytes wait to be sent and read back before a submit is refused.
const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many bytes of batches one frame has at the most; a larger batch goes alone.
const FRAME_BYTES_MAX: usize = 512 * 1024;
/// How many bytes one append sends.
const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The queue of batches, behind a lock of its own: the engine's lock, where it is held, is taken
/// first.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<OutboxQueue>,
    /// Told when there is something to send.
    work: Arc<Notify>,
    drained: watch::Receiver<u64>,
}

/// What is in it.
#[derive(Debug)]
pub(super) struct OutboxQueue {
    writer: WriterId,
    lease: Duration,
    /// What proves to others that those before this process in its directory are gone.
    succession: Option<Succession>,
    /// The number of the next frame.
    counter: FrameNumber,
    unsent: VecDeque<log::Batch>,
    sent: VecDeque<Frame>,
    bytes: usize,
    /// Frames that were read back and wait for the server's acknowledgement: what became of their
    /// batches.
    unacknowledged: VecDeque<(FrameNumber, Vec<Outcome>)>,
    /// The number of the last frame that was read back, and of the last one that the server has
    /// acknowledged.
    folded: FrameNumber,
    acknowledged: FrameNumber,
    message_bytes_max: usize,
    /// Told when there is something to send.
    work: Arc<Notify>,
    /// Counts what was read back: what waits for room looks again.
    drained: watch::Sender<u64>,
    halt: Option<Refusal>,
    /// Whether a process that has opened waits to hear of this one.
    is_asked: bool,
}

pub(super) type Outcome = (Ticket, Result<log::Receipt, Refusal>);

#[derive(Debug)]
struct Frame {
    counter: FrameNumber,
    messages: Vec<Bytes>,
    /// To make the frame again if this process has to open again.
    batches: Vec<log::Batch>,
    bytes: usize,
}

/// What one append sends, and what its acknowledgement means.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    pub(super) messages: Vec<Bytes>,
    /// Frames up to this one are durable once it is acknowledged.
    pub(super) until: FrameNumber,
}

impl Outbox {
    pub(super) fn new(lease: Duration, message_bytes_max: usize) -> Self {
        let queue = OutboxQueue::new(lease, message_bytes_max);
        Self {
            work: queue.work.clone(),
            drained: queue.drained.subscribe(),
            queue: Mutex::new(queue),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, OutboxQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told when there is something to send.
    pub(super) fn work(&self) -> Arc<Notify> {
        self.work.clone()
    }

    /// Changes with every batch that is read back from now on, and with the end of all.
    pub(super) fn drained(&self) -> watch::Receiver<u64> {
        let mut drained = self.drained.clone();
        drained.mark_unchanged();
        drained
    }
}

impl WriteSink for Outbox {
    fn submit(&self, batch: log::Batch) -> Result<PendingWrite, log::SubmitError> {
        self.lock().push(batch).map(PendingWrite::Shared)
    }

    fn room(&self) -> Room {
        Room::Shared(self.drained())
    }
}

impl OutboxQueue {
    fn new(lease: Duration, message_bytes_max: usize) -> Self {
        Self {
            writer: new_writer(),
            lease,
            succession: None,
            counter: FrameNumber::FIRST,
            unsent: VecDeque::new(),
            sent: VecDeque::new(),
            bytes: 0,
            unacknowledged: VecDeque::new(),
            folded: FrameNumber::START,
            acknowledged: FrameNumber::START,
            message_bytes_max,
            work: Arc::default(),
            drained: watch::Sender::new(0),
            halt: None,
            is_asked: false,
        }
    }

    /// Puts a batch into the queue.
    ///
    /// # Errors
    /// `Full` with the batch when there is no room.
    fn push(&mut self, batch: log::Batch) -> Result<Ticket, log::SubmitError> {
        let bytes = batch.bytes();
        match &self.halt {
            None => {}
            Some(Refusal::Closed) => return Err(log::SubmitError::Closed),
            // Why, in its own kind of error, is what `halted` tells.
            Some(why) => {
                let reason = Error::from(why.clone()).to_string();
                return Err(log::SubmitError::Poisoned { reason });
            }
        }
        if self.bytes > 0 && self.bytes + bytes > QUEUE_BYTES_MAX {
            return Err(log::SubmitError::Full(batch));
        }
        self.bytes += bytes;
        self.unsent.push_back(batch);
        self.work.notify_one();
        Ok(Ticket::default())
    }

    /// What this process's frames say they are from.
    pub(super) fn writer(&self) -> WriterId {
        self.writer
    }

    /// What to send next: everything that was sent before and not read back if `again`, else
    /// what was never sent.
    pub(super) fn pack(&mut self, again: bool, stamp: Stamp) -> Result<Parcel> {
        let mut parcel = Parcel {
            messages: Vec::new(),
            until: self.folded,
        };
        let mut bytes = 0;
        if again {
            for frame in &self.sent {
                bytes += frame.bytes;
                parcel.until = frame.counter;
                parcel.messages.extend(frame.messages.iter().cloned());
            }
        }
        while let Some(first) = self.unsent.front()
            && (bytes == 0 || bytes + first.bytes() <= APPEND_BYTES_MAX)
        {
            let frame = self.frame(stamp)?;
            bytes += frame.bytes;
            parcel.until = frame.counter;
            parcel.messages.extend(frame.messages.iter().cloned());
            self.sent.push_back(frame);
        }
        Ok(parcel)
    }

    fn frame(&mut self, stamp: Stamp) -> Result<Frame> {
        let (mut body, mut batches) = (Vec::new(), Vec::new());
        while let Some(next) = self.unsent.front()
            && (batches.is_empty() || body.len() + next.bytes() <= FRAME_BYTES_MAX)
        {
            next.write_to(&mut body).map_err(crate::log_error::of_log)?;
            batches.extend(self.unsent.pop_front());
        }
        let head = Head {
            writer: self.writer,
            counter: self.counter,
            stamp,
        };
        let messages = head.frame(&body, self.message_bytes_max)?;
        self.counter = self.counter.next().ok_or_else(|| {
            let why = format!("frame {} was the last there can be", self.counter.get());
            EngineError::Stopped(why)
        })?;
        Ok(Frame {
            counter: head.counter,
            messages,
            batches,
            bytes: body.len(),
        })
    }

    /// A message that only says that this process lives; also the way to have an acknowledgement
    /// of what was read back.
    pub(super) fn beat(&self, stamp: Stamp) -> Parcel {
        let head = Head {
            writer: self.writer,
            counter: self.folded,
            stamp,
        };
        Parcel {
            messages: vec![head.beat()],
            until: self.folded,
        }
    }

    /// A process has opened: it is to hear of this one.
    pub(super) fn answer(&mut self) {
        self.is_asked = true;
        self.work.notify_one();
    }

    /// Whether a process waits to hear of this one, which whatever is sent now tells it.
    pub(super) fn take_asked(&mut self) -> bool {
        std::mem::take(&mut self.is_asked)
    }

    /// Whether something waits for an acknowledgement that nothing on its way will bring.
    pub(super) fn needs_acknowledgement(&self) -> bool {
        !self.unacknowledged.is_empty() && self.unsent.is_empty() && self.sent.is_empty()
    }

    /// A frame was read back; whether it is the oldest of this process's that were sent, and has
    /// batches.
    pub(super) fn read_back(&mut self, writer: WriterId, counter: FrameNumber) -> bool {
        let oldest = self.sent.front().map(|frame| frame.counter);
        if writer != self.writer || oldest != Some(counter) {
            return false;
        }
        let Some(frame) = self.sent.pop_front() else {
            return false;
        };
        let batches: usize = frame.batches.iter().map(log::Batch::bytes).sum();
        self.bytes -= batches;
        self.folded = counter;
        self.drained.send_modify(|count| *count += 1);
        !frame.batches.is_empty()
    }

    /// What became of the batches of a frame that was read back: said when it is durable.
    pub(super) fn conclude(&mut self, counter: FrameNumber, outcomes: Vec<Outcome>) {
        self.unacknowledged.push_back((counter, outcomes));
        self.acknowledged(self.acknowledged);
        // The task that sends may have looked since this frame was read back, and found nothing to do.
        if self.needs_acknowledgement() {
            self.work.notify_one();
        }
    }

    /// The server has acknowledged everything up to this frame.
    pub(super) fn acknowledged(&mut self, until: FrameNumber) {
        self.acknowledged = self.acknowledged.max(until);
        while let Some((counter, _)) = self.unacknowledged.front()
            && *counter <= until
        {
            let outcomes = self.unacknowledged.pop_front();
            for (ticket, outcome) in outcomes.into_iter().flat_map(|(_, outcomes)| outcomes) {
                ticket.resolve(outcome);
            }
        }
    }

    /// This process has the directory for itself, and what those before it left there.
    pub(super) fn succeed(&mut self, succession: Succession) {
        self.succession = Some(succession);
    }

    /// Says that this process works on the log, before anything else that waits; the record that
    /// says it.
    pub(super) fn introduce(&mut self) -> Result<(PendingWrite, Change)> {
        let opened = Change::Opened(self.opening());
        let mut batch = log::Batch::new();
        opened.push_to(&mut batch)?;
        Ok((PendingWrite::Shared(self.push_first(batch)), opened))
    }

    /// This process was fenced: it introduces itself under another name, and sends again what was
    /// not read back.
    pub(super) fn reopen(&mut self) -> Result<(PendingWrite, Change)> {
        self.rename();
        self.introduce()
    }

    /// What this process introduces itself with.
    fn opening(&self) -> Opened {
        let succession = self.succession.as_ref();
        Opened {
            writer: self.writer,
            name: format!("process {}", std::process::id()),
            lease_micros: u64::try_from(self.lease.as_micros()).unwrap_or(u64::MAX),
            seal: succession.and_then(Succession::seal),
            follows: succession.map(Succession::follows).unwrap_or_default(),
        }
    }

    /// The record that it introduced itself with is in the log.
    pub(super) fn introduced(&mut self) {
        if let Some(succession) = &mut self.succession {
            succession.opened();
        }
    }

    /// Refuses a process that shows the secret of this very process, which lives.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] says what to do about it.
    pub(super) fn check_followed(&self, name: &str, shown: &[Secret]) -> Result<()> {
        let Some(succession) = &self.succession else {
            return Ok(());
        };
        let seal = succession.seal();
        let is_this = seal.is_some() && shown.iter().any(|it| Some(seal_of(*it)) == seal);
        if !is_this {
            return Ok(());
        }
        Err(Error::Engine(EngineError::Stopped(format!(
            "`{name}` works in a copy of this process's directory {} and fenced this process: give \
             each process a `replica` directory of its own, never a copy of another's",
            succession.directory().display()
        ))))
    }

    fn rename(&mut self) {
        if let Some(succession) = &mut self.succession {
            succession.renew();
        }
        let sent = std::mem::take(&mut self.sent);
        for batch in sent.into_iter().flat_map(|frame| frame.batches).rev() {
            self.unsent.push_front(batch);
        }
        self.writer = new_writer();
        self.counter = FrameNumber::FIRST;
        (self.folded, self.acknowledged) = (FrameNumber::START, FrameNumber::START);
        // What was read back under the old name is durable with the first new frame.
        for (counter, _) in &mut self.unacknowledged {
            *counter = FrameNumber::FIRST;
        }
    }

    /// Puts a batch before all others.
    fn push_first(&mut self, batch: log::Batch) -> Ticket {
        self.bytes += batch.bytes();
        self.unsent.push_front(batch);
        self.work.notify_one();
        Ticket::default()
    }

    /// Nothing goes out any more.
    pub(super) fn halt(&mut self, why: Refusal) {
        for (_, outcomes) in self.unacknowledged.drain(..) {
            for (ticket, _) in outcomes {
                ticket.resolve(Err(why.clone()));
            }
        }
        self.unsent.clear();
        self.sent.clear();
        self.bytes = 0;
        self.halt.get_or_insert(why);
        self.drained.send_modify(|count| *count += 1);
        self.work.notify_one();
    }

    pub(super) fn is_halted(&self) -> bool {
        self.halt.is_some()
    }

    /// Why nothing goes out any more, if that is so.
    pub(super) fn halted(&self) -> Option<&Refusal> {
        self.halt.as_ref()
    }
}

/// A name that no other process has.
fn new_writer() -> WriterId {
    uuid::Uuid::now_v7().as_u64_pair().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const STAMP: Stamp = Stamp { time: 0, clock: 0 };

    #[test]
    fn a_frame_that_is_concluded_after_the_sender_has_looked_wakes_it() {
        let mut queue = OutboxQueue::new(Duration::from_secs(10), 1 << 20);
        let mut batch = log::Batch::new();
        let record = log::Record {
            kind: 0,
            id: None,
            topic: "t",
            key: b"",
            body: b"body",
        };
        batch.push(&record).unwrap();
        let _ticket = queue.push(batch).unwrap();
        let sent = queue.pack(false, STAMP).unwrap();
        let work = queue.work.clone();
        while work.notified().now_or_never().is_some() {}
        // Sending failed, but the server has it: it is read back before it is sent again.
        assert!(queue.read_back(queue.writer(), sent.until));
        assert!(queue.pack(true, STAMP).unwrap().messages.is_empty());
        assert!(!queue.needs_acknowledgement());
        queue.conclude(sent.until, Vec::new());
        assert!(work.notified().now_or_never().is_some());
    }
}
