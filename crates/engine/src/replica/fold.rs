//! Reading the shared log and folding it into this process's own.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ensue_log as log;

use super::frame::{Kind, Part, batches};
use super::outbox::Outcome;
use super::{Last, Pause, guard};
use crate::error::{EngineError, Error, Result};
use crate::ids::{FrameNumber, ProcessId, WriterId};
use crate::log_error;
use crate::model::change::Change;
use crate::model::fencing;
use crate::model::record::Framed;
use crate::model::refusal::Refusal;
use crate::pending_write::Submission;
use crate::runtime::engine_inner::Shared;
use crate::runtime::locked_state::{Core, Pending};
use crate::runtime::lookup;
use crate::shared_log::Message;

/// How much one read asks for.
const READ_BYTES: usize = 4 * 1024 * 1024;
/// How long a read waits for something new, at the most: a long pause between reads says that this
/// process knows nothing of the others.
const PATIENCE: Duration = Duration::from_millis(500);
/// What is folded at once rather than by another thread. The next read waits meanwhile.
const BRIEF_BYTES_MAX: usize = 16 * 1024;
/// A batch that has fewer records and bytes takes the frame's mark along: far below what the log
/// takes as one batch.
const MARKED_RECORDS_MAX: usize = 16_384;
const MARKED_BYTES_MAX: usize = 1024 * 1024;

/// Where reading stands.
#[derive(Debug)]
struct Reader {
    /// The sequence number to go on from.
    next: u64,
    /// Frames of which some parts are here.
    partial: HashMap<WriterId, Partial>,
    /// Whether the server has to prove that it has what was read, because it was away.
    is_doubtful: bool,
}

#[derive(Debug)]
struct Partial {
    first: u64,
    counter: FrameNumber,
    parts: u16,
    body: Vec<u8>,
}

/// A whole frame.
struct Frame {
    last: Part,
    sequence: u64,
    body: bytes::Bytes,
}

/// How often it is said how far a process has read that has just opened.
const PROGRESS: Duration = Duration::from_secs(2);

/// How far a process that has just opened is from being up to date: nothing can be its own before
/// it has read that it is.
struct Progress {
    said: Instant,
    to: u64,
}

impl Progress {
    fn say(&mut self, next: u64) {
        if next >= self.to || self.said.elapsed() < PROGRESS {
            return;
        }
        self.said = Instant::now();
        let percent = next.saturating_mul(100) / self.to.max(1);
        tracing::info!(
            message = next,
            of = self.to,
            "reading what is in the shared log ({percent} %); events are handled after that, and a \
             restart goes on from here"
        );
    }
}

/// Starts the task that reads; it holds the engine only while it works.
pub(super) fn start(shared: &Arc<Shared>) {
    let mark = shared.core().state.processes.mark;
    let reader = Reader {
        next: mark.map_or(0, |mark| mark.resume),
        partial: HashMap::new(),
        is_doubtful: false,
    };
    shared.keep_task(tokio::spawn(run(Arc::downgrade(shared), reader)));
}

/// While one read is folded, the next one is under way.
async fn run(shared: Weak<Shared>, mut reader: Reader) {
    let mut pause = Pause::default();
    // What the last read gave, if there was one.
    let mut messages = None;
    let mut progress = match shared.upgrade() {
        Some(shared) => shared.far_to_go().await,
        None => return,
    };
    loop {
        let Some((log, patience)) = shared.upgrade().and_then(|shared| {
            let replica = shared.replica.as_ref()?;
            let patience = PATIENCE.min(replica.lease / 4);
            Some((replica.shared_log.clone(), patience))
        }) else {
            return;
        };
        let from = reader.after(messages.as_deref().unwrap_or_default());
        let is_doubtful = reader.is_doubtful;
        let read = async {
            let read = async {
                if is_doubtful {
                    guard::check(&shared).await?;
                }
                log.read(from, READ_BYTES, patience).await
            };
            Ok(match read.await {
                Ok(messages) => Ok(messages),
                Err(Error::Engine(EngineError::Unavailable { reason, .. })) => Err(reason),
                Err(error) => return Err(error),
            })
        };
        // Whichever fails for good ends the other.
        let both = tokio::try_join!(read, fold(&shared, reader, messages));
        let Some(engine) = shared.upgrade() else {
            return;
        };
        messages = match both {
            Ok((read, back)) => {
                reader = back;
                progress.say(reader.next);
                match read {
                    Ok(messages) => {
                        reader.is_doubtful = false;
                        pause = Pause::default();
                        engine.was_heard(None);
                        Some(messages)
                    }
                    Err(reason) => {
                        tracing::warn!(reason, "cannot read the shared log, trying again");
                        engine.was_heard(Some(reason));
                        reader.is_doubtful = true;
                        drop(engine);
                        pause.wait().await;
                        None
                    }
                }
            }
            Err(Error::Engine(EngineError::Closed)) => return,
            Err(error) => {
                engine.stop_for(&error);
                return;
            }
        };
    }
}

/// Folds what was read, if anything was, where it may block; gives the reader back.
async fn fold(
    shared: &Weak<Shared>,
    reader: Reader,
    messages: Option<Vec<Message>>,
) -> Result<Reader> {
    let Some(messages) = messages else {
        return Ok(reader);
    };
    let Some(engine) = shared.upgrade() else {
        return Err(Error::Engine(EngineError::Closed));
    };
    let bytes: usize = messages.iter().map(|message| message.body.len()).sum();
    let take = move || {
        let mut reader = reader;
        reader.take(&engine, messages)?;
        Ok(reader)
    };
    match bytes <= BRIEF_BYTES_MAX {
        true => lookup::briefly(take).await,
        false => lookup::blocking(take).await,
    }
}

impl Reader {
    /// Where to read on once `messages` are folded.
    fn after(&self, messages: &[Message]) -> u64 {
        let last = messages.last().map(|message| message.sequence + 1);
        last.map_or(self.next, |next| next.max(self.next))
    }

    /// Folds what was read. Blocks.
    fn take(&mut self, shared: &Shared, messages: Vec<Message>) -> Result<()> {
        let own = shared.core().outbox.as_ref().map(|outbox| outbox.writer);
        for message in messages {
            if message.sequence < self.next {
                continue;
            }
            let part = Part::read(message.sequence, &message.body)?;
            shared.hear(&part, own == Some(part.writer));
            if part.kind == Kind::Frame
                && let Some(frame) = self.join(message.sequence, part)
            {
                self.fold(shared, frame)?;
            }
            self.next = message.sequence + 1;
        }
        shared.judge_clocks();
        shared.release_slots()?;
        Ok(())
    }

    /// Adds a part to its frame; gives the frame when it is whole.
    fn join(&mut self, sequence: u64, part: Part) -> Option<Frame> {
        if part.parts <= 1 {
            self.partial.remove(&part.writer);
            let body = part.body.clone();
            return Some(Frame {
                last: part,
                sequence,
                body,
            });
        }
        if part.part == 0 {
            let partial = Partial {
                first: sequence,
                counter: part.counter,
                parts: 0,
                body: Vec::new(),
            };
            self.partial.insert(part.writer, partial);
        }
        let partial = self.partial.get_mut(&part.writer)?;
        if partial.counter != part.counter || partial.parts != part.part {
            // It was interrupted and will be sent again.
            self.partial.remove(&part.writer);
            return None;
        }
        partial.parts += 1;
        partial.body.extend_from_slice(&part.body);
        if partial.parts < part.parts {
            return None;
        }
        let body = self.partial.remove(&part.writer)?.body.into();
        Some(Frame {
            last: part,
            sequence,
            body,
        })
    }

    fn fold(&mut self, shared: &Shared, frame: Frame) -> Result<()> {
        let Some(batches) = batches(&frame.body) else {
            return Err(Error::Engine(EngineError::Corrupt(format!(
                "the frame at message {} of the shared log cannot be read",
                frame.sequence
            ))));
        };
        let resume = self.partial.values().map(|partial| partial.first).min();
        let resume = resume.map_or(frame.sequence + 1, |first| first.min(frame.sequence + 1));
        let replica = shared.replica()?;
        let mut core = shared.core();
        let Frame { last, sequence, .. } = frame;
        let position = shared.log.durable().get();
        let first = match batches.first() {
            Some(batch) => changes(batch)?.into_iter().next().map(|(_, change)| change),
            None => None,
        };
        let state = &core.state;
        let Some(boot) =
            fencing::admit_frame(state, last.writer, last.counter, first.as_ref(), position)
        else {
            return Ok(());
        };
        let stamp = last.stamp;
        let (time, claimed) = state.processes.time_at(last.writer, stamp.time);
        replica.time.store(time, Ordering::Release);
        // One that nobody here waits for any more, because the engine ends, is like any other.
        let expected = match &mut core.outbox {
            Some(outbox) if outbox.writer == last.writer => outbox.read_back(last.counter),
            _ => 0,
        };
        let is_own = expected > 0;
        let mut writing = Writing {
            log: &shared.log,
            hold: Some(shared.log.hold()),
            boot,
            time: stamp.time,
            mark: Change::Framed(Framed {
                writer: last.writer,
                counter: last.counter,
                sequence,
                checksum: last.checksum,
                resume,
                time,
                claimed,
            }),
            marked: None,
            last: None,
        };
        let bytes = frame.body.len();
        let outcomes = match is_own {
            true => core.fold_own(&mut writing, batches)?,
            false => {
                core.fold_other(&mut writing, batches)?;
                Vec::new()
            }
        };
        let (at, mark) = writing.finish()?;
        let now = core.clock.now();
        core.apply(at.get(), &mark, None, now);
        shared.grew(bytes);
        if let Some(why) = core.usurped.take() {
            return Err(why);
        }
        // Only now: whoever is told may read it at once.
        if is_own && let Some(outbox) = &mut core.outbox {
            outbox.conclude(last.counter, outcomes);
        }
        Ok(())
    }
}

/// What a frame writes into this process's own log: its batches and its mark, all in one write. A
/// process that is killed meanwhile has the whole frame in its copy, or nothing of it, and goes on
/// from there: half of one could neither be gone on with nor be taken back.
struct Writing<'a> {
    log: &'a log::Log,
    /// `None` after there was too much to be held back.
    hold: Option<log::Hold>,
    boot: ProcessId,
    /// When its writer says that it was written, in microseconds since the Unix epoch.
    time: i64,
    /// Says that the frame was folded whole.
    mark: Change,
    /// Where the mark is, if a batch took it along.
    marked: Option<log::Position>,
    /// What was submitted last: all before it is written no later.
    last: Option<log::Submitted>,
}

impl Writing<'_> {
    /// Appends a batch; it is written when [`Self::finish`] returns.
    fn append(&mut self, mut batch: log::Batch, is_last: bool) -> log::Result<log::Receipt> {
        // One that is all duplicates succeeds whatever it expects: with the mark it would not be.
        let takes_mark = is_last
            && !batch.is_conditional()
            && batch.len() < MARKED_RECORDS_MAX
            && batch.bytes() < MARKED_BYTES_MAX;
        if takes_mark && self.mark.push_to(&mut batch).is_ok() {
            let receipt = self.submit(batch)?;
            self.marked = receipt.position(receipt.len().saturating_sub(1));
            return Ok(receipt);
        }
        self.submit(batch)
    }

    fn submit(&mut self, mut batch: log::Batch) -> log::Result<log::Receipt> {
        loop {
            match self.log.submit(batch) {
                Ok(submitted) => {
                    let receipt = submitted.receipt.clone();
                    self.last = Some(submitted);
                    return Ok(receipt);
                }
                Err(log::SubmitError::Full(refused)) => {
                    batch = refused;
                    self.hold = None;
                    self.log.room().wait();
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Says that the frame was folded whole, and waits until all of it is written; where the mark
    /// is.
    fn finish(mut self) -> Result<(log::Position, Change)> {
        let at = match self.marked {
            Some(at) => at,
            None => {
                let mut batch = log::Batch::new();
                self.mark.push_to(&mut batch)?;
                self.submit(batch).map_err(log_error::of_log)?.first()
            }
        };
        self.hold = None;
        if let Some(last) = self.last {
            last.wait().map_err(log_error::of_log)?;
        }
        Ok((at, self.mark))
    }
}

impl Core {
    /// The other processes that live, the eldest first, and how many are older than this one.
    pub(super) fn others(&self) -> (Vec<WriterId>, usize) {
        let all = self.state.processes.iter();
        let others: Vec<_> = all.filter(|(boot, _)| *boot != self.boot).collect();
        let elders = others.iter().filter(|(boot, _)| *boot < self.boot).count();
        (others.iter().map(|(_, it)| it.writer).collect(), elders)
    }

    /// Folds batches of another process.
    fn fold_other(&mut self, writing: &mut Writing<'_>, batches: Vec<log::Batch>) -> Result<()> {
        let last = batches.len().saturating_sub(1);
        for (number, batch) in batches.into_iter().enumerate() {
            let changes = changes(&batch)?;
            let these = changes.iter().map(|(_, it)| it);
            let Ok(receipt) = self.take_in(writing, batch, number == last, these)? else {
                continue;
            };
            let now = self.clock.now();
            for (index, change) in &changes {
                if let Some(position) = receipt.position(*index) {
                    self.apply(position.get(), change, None, now);
                }
            }
        }
        Ok(())
    }

    /// Folds batches of this process; gives what became of them.
    fn fold_own(
        &mut self,
        writing: &mut Writing<'_>,
        batches: Vec<log::Batch>,
    ) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(batches.len());
        let last = batches.len().saturating_sub(1);
        for (number, batch) in batches.into_iter().enumerate() {
            // There is one for each batch of a frame that was sent: both are dropped together.
            let Some(pending) = self.pop_pending() else {
                return Err(Error::Engine(EngineError::Stopped(
                    "a frame has more than was sent".to_owned(),
                )));
            };
            let these = pending.changes.iter().map(|(_, it)| it);
            let outcome = self.take_in(writing, batch, number == last, these)?;
            if let Some((_, Change::Opened(_))) = pending.changes.first() {
                self.boot = writing.boot;
                if let Some(outbox) = &mut self.outbox {
                    outbox.is_introduced();
                }
            }
            self.conclude(&pending, outcome.as_ref().ok());
            let Pending { submitted, .. } = pending;
            if let Submission::Shared(ticket) = submitted {
                outcomes.push((ticket, outcome));
            }
        }
        Ok(outcomes)
    }

    /// Appends a batch to this process's own log, if it is admitted.
    fn take_in<'a>(
        &mut self,
        writing: &mut Writing<'_>,
        batch: log::Batch,
        is_last: bool,
        changes: impl Iterator<Item = &'a Change>,
    ) -> Result<Result<log::Receipt, Refusal>> {
        let changes: Vec<&Change> = changes.collect();
        if let Err(refusal) =
            fencing::admit_batch(&self.state, writing.boot, writing.time, &changes)
        {
            return Ok(Err(refusal));
        }
        if self.state.is_of_trimmed() {
            writing.log.assume_trimmed();
        }
        match writing.append(batch, is_last) {
            Ok(receipt) => Ok(Ok(receipt)),
            Err(log::Error::Conflict(conflict)) => Ok(Err(Refusal::Conflict(conflict))),
            Err(error) => Err(log_error::of_log(error)),
        }
    }
}

impl Shared {
    /// Where the shared log ends now.
    async fn far_to_go(&self) -> Progress {
        let to = match &self.replica {
            // It is for people: a server that is away now is read from all the same.
            Some(replica) => replica.shared_log.end().await.unwrap_or(0),
            None => 0,
        };
        let said = Instant::now();
        Progress { said, to }
    }

    /// Notes how a read went.
    fn was_heard(&self, trouble: Option<String>) {
        let Ok(replica) = self.replica() else {
            return;
        };
        let now = Instant::now();
        let mut heard = replica.heard();
        // After trouble or a pause of its own, this process knows nothing of the others.
        if trouble.is_some() || heard.trouble.is_some() || now - heard.read > replica.lease / 2 {
            heard.current = now;
        }
        heard.read = now;
        heard.trouble = trouble;
    }

    /// Notes that a process lives, and what its clock shows.
    fn hear(&self, part: &Part, is_own: bool) {
        let Ok(replica) = self.replica() else {
            return;
        };
        let clock = replica.clock.now().as_micros();
        let mut heard = replica.heard();
        let last = Last {
            at: Instant::now(),
            time: part.stamp.time,
        };
        heard.writers.insert(part.writer, last);
        match is_own {
            true => heard.clocks.read_back(part.stamp, clock),
            false => heard.clocks.hear(part.writer, part.stamp),
        }
    }

    /// Decides whose clock this process goes by.
    fn judge_clocks(&self) {
        if let Ok(replica) = self.replica() {
            let (others, elders) = self.core().others();
            replica.heard().clocks.judge(&others, elders);
        }
    }

    /// Nothing goes on any more, for good: whoever waits is told why, and so is the status.
    pub(super) fn stop_for(&self, error: &Error) {
        tracing::error!(%error, "the engine stops");
        self.halt(Refusal::of(error));
        if let Ok(replica) = self.replica() {
            replica.heard().stopped.get_or_insert(error.to_string());
        }
        let mut core = self.core();
        let names: Vec<String> = core.sessions.keys().cloned().collect();
        for name in names {
            core.fence(&name);
        }
    }
}

/// The control records of a batch, and which they are.
fn changes(batch: &log::Batch) -> Result<Vec<(usize, Change)>> {
    let mut changes = Vec::new();
    for (index, (kind, body)) in batch.bodies().enumerate() {
        if let Some(change) = Change::read(kind, index as u64, body)? {
            changes.push((index, change.light()));
        }
    }
    Ok(changes)
}
