//! Reading the shared log and folding it into this process's own.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ensue_log as log;

use super::frame::{Kind, Part, batches};
use super::frame_write::FrameWrite;
use super::guard;
use super::link::Link;
use super::node::{Node, WeakNode, others};
use super::outbox::Outcome;
use super::retry::Retry;
use crate::engine::Position;
use crate::error::{EngineError, Error, Result};
use crate::ids::{FrameNumber, ProcessId, WriterId};
use crate::log_error;
use crate::log_position::from_log;
use crate::model::change::Change;
use crate::model::fencing;
use crate::model::record::Framed;
use crate::model::refusal::Refusal;
use crate::runtime::engine_inner::{EngineInner, batch_of};
use crate::runtime::group_progress;
use crate::runtime::locked_state::LockedState;
use crate::runtime::lookup;
use crate::runtime::pending_changes::Terms;
use crate::shared_log::{Message, Server};

/// How much one read asks for.
const READ_BYTES: usize = 4 * 1024 * 1024;
/// How long a read waits for something new, at the most: a long pause between reads says that this
/// process knows nothing of the others.
const PATIENCE: Duration = Duration::from_millis(500);
/// What is folded at once rather than by another thread. The next read waits meanwhile.
const BRIEF_BYTES_MAX: usize = 16 * 1024;
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
pub(super) fn start(node: &Node) {
    let mark = node.engine.locked().state().processes().mark();
    let reader = Reader {
        next: mark.map_or(0, |mark| mark.resume),
        partial: HashMap::new(),
        is_doubtful: false,
    };
    node.spawn(|node| run(node, reader));
}

/// While one read is folded, the next one is under way.
async fn run(node: WeakNode, mut reader: Reader) {
    let mut retry = Retry::default();
    // What the last read gave, if there was one.
    let mut messages = None;
    let mut progress = far_to_go(&node.link).await;
    let patience = PATIENCE.min(node.link.lease() / 4);
    while node.is_alive() {
        let from = reader.after(messages.as_deref().unwrap_or_default());
        let is_doubtful = reader.is_doubtful;
        let read = async {
            let read = async {
                if is_doubtful {
                    guard::check(&node).await?;
                }
                let log = node.link.shared_log();
                log.read(from, READ_BYTES, patience).await
            };
            match read.await {
                Ok(messages) => Ok(Ok(messages)),
                Err(Error::Engine(EngineError::Unavailable { reason, .. })) => Ok(Err(reason)),
                Err(error) => Err(error),
            }
        };
        // The first that fails for good ends the other.
        let read = match tokio::try_join!(read, fold(&node, reader, messages)) {
            Ok((read, back)) => {
                reader = back;
                read
            }
            Err(Error::Engine(EngineError::Closed)) => return,
            Err(error) => return node.stop_for(&error),
        };
        progress.say(reader.next);
        messages = match read {
            Ok(messages) => {
                reader.is_doubtful = false;
                retry = Retry::default();
                node.link.heard().read(None);
                Some(messages)
            }
            Err(reason) => {
                tracing::warn!(reason, "cannot read the shared log, retrying");
                node.link.heard().read(Some(reason));
                reader.is_doubtful = true;
                retry.wait().await;
                None
            }
        };
    }
}

/// Where the shared log ends now.
async fn far_to_go(link: &Link) -> Progress {
    // It is for people: a server that is away now is read from all the same.
    let to = link.shared_log().end().await.unwrap_or(0);
    let said = Instant::now();
    Progress { said, to }
}

/// Folds what was read, if anything was, where it may block; gives the reader back.
async fn fold(node: &WeakNode, reader: Reader, messages: Option<Vec<Message>>) -> Result<Reader> {
    let Some(messages) = messages else {
        return Ok(reader);
    };
    let node = node.upgrade().ok_or(EngineError::Closed)?;
    let bytes: usize = messages.iter().map(|message| message.body.len()).sum();
    let take = move || {
        let mut reader = reader;
        reader.take(&node, messages)?;
        Ok(reader)
    };
    if bytes <= BRIEF_BYTES_MAX {
        lookup::briefly(take).await
    } else {
        lookup::blocking(take).await
    }
}

impl Reader {
    /// Where to read on once `messages` are folded.
    fn after(&self, messages: &[Message]) -> u64 {
        let last = messages.last().map(|message| message.sequence + 1);
        last.map_or(self.next, |next| next.max(self.next))
    }

    /// Folds what was read. Blocks.
    fn take(&mut self, node: &Node, messages: Vec<Message>) -> Result<()> {
        let own = node.link.outbox().lock().writer();
        for message in messages {
            if message.sequence < self.next {
                continue;
            }
            let part = Part::read(message.sequence, &message.body)?;
            let clock = node.link.clock().now().as_micros();
            node.link.heard().heard(&part, own == part.writer, clock);
            if part.kind == Kind::Frame
                && let Some(frame) = self.join(message.sequence, part)
            {
                self.fold(node, frame)?;
            }
            self.next = message.sequence + 1;
        }
        let (others, elders) = others(&node.engine.locked());
        node.link.heard().clocks().judge(&others, elders);
        release_slots(&node.engine)
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

    fn fold(&mut self, node: &Node, frame: Frame) -> Result<()> {
        let (engine, link) = (&*node.engine, &*node.link);
        let source = Source {
            server: link.server(),
            sequence: frame.sequence,
            position: engine.end(),
        };
        let batches = batches(&frame.body)
            .ok_or_else(|| source.corrupt("ends in a frame whose batches cannot be read"))?;
        let resume = self.partial.values().map(|partial| partial.first).min();
        let resume = resume.map_or(frame.sequence + 1, |first| first.min(frame.sequence + 1));
        let mut locked = engine.locked();
        let Frame { last, sequence, .. } = frame;
        let first = match batches.first() {
            Some(batch) => source.changes(batch, 0)?.into_iter().next(),
            None => None,
        };
        let first = first.as_ref().map(|(_, change)| change);
        let (state, position) = (locked.state(), source.position);
        let admitted = fencing::admit_frame(state, last.writer, last.counter, first, position)?;
        let Some(boot) = admitted else {
            return Ok(());
        };
        let stamp = last.stamp;
        let (time, claimed) = state.processes().time_at(last.writer, stamp.time);
        link.set_time(time);
        // A frame that nothing here waits for any more, because the engine ends, is like any other.
        let is_own = link.outbox().lock().read_back(last.writer, last.counter);
        let mark = Change::Framed(Framed {
            writer: last.writer,
            counter: last.counter,
            sequence,
            checksum: last.checksum,
            resume,
            time,
            claimed,
        });
        let mut folding = Folding {
            log: engine.log(),
            link,
            writing: FrameWrite::begin(engine.log(), mark),
            boot,
            time: stamp.time,
            usurped: None,
        };
        let bytes = frame.body.len();
        let outcomes = if is_own {
            folding.fold_own(&mut locked, batches)?
        } else {
            folding.fold_foreign(&mut locked, batches, source)?;
            Vec::new()
        };
        let (at, mark) = folding.writing.finish()?;
        locked.apply_foreign(from_log(at), &mark);
        engine.grew(bytes);
        if let Some(why) = folding.usurped {
            return Err(why);
        }
        // Only now: those who are told may read it at once.
        if is_own {
            link.outbox().lock().conclude(last.counter, outcomes);
        }
        Ok(())
    }
}

/// A frame that is being folded.
struct Folding<'a> {
    log: &'a log::Log,
    link: &'a Link,
    writing: FrameWrite<'a>,
    /// The process that wrote it.
    boot: ProcessId,
    /// When its writer says that it was written, in microseconds since the Unix epoch.
    time: i64,
    /// Set when another process has taken the place of this one, which lives.
    usurped: Option<Error>,
}

impl Folding<'_> {
    /// Folds batches of another process.
    fn fold_foreign(
        &mut self,
        locked: &mut LockedState,
        batches: Vec<log::Batch>,
        source: Source<'_>,
    ) -> Result<()> {
        let (count, mut records) = (batches.len(), 0);
        for (batch, number) in batches.into_iter().zip(1..) {
            let changes = source.changes(&batch, records)?;
            records += batch.len();
            let Ok(receipt) = self.take_in(locked, batch, number == count, &changes)? else {
                continue;
            };
            for (index, change) in &changes {
                if let Some(position) = receipt.position(*index) {
                    let is_fenced = locked.is_fenced_by(change);
                    locked.apply_foreign(from_log(position), change);
                    self.heed(locked, change, is_fenced)?;
                }
            }
        }
        Ok(())
    }

    /// Folds batches of this process; gives what became of them.
    fn fold_own(
        &mut self,
        locked: &mut LockedState,
        batches: Vec<log::Batch>,
    ) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(batches.len());
        let count = batches.len();
        for (batch, number) in batches.into_iter().zip(1..) {
            // There is one for each batch of a frame that was sent: both are dropped together.
            let Some(pending) = locked.pop_pending() else {
                let why = "a frame has more than was sent".to_owned();
                return Err(EngineError::Stopped(why).into());
            };
            let changes = pending.changes();
            let outcome = self.take_in(locked, batch, number == count, changes)?;
            if let Some((_, Change::Opened(_))) = changes.first() {
                locked.set_boot(self.boot);
                self.link.outbox().lock().introduced();
            }
            locked.conclude(&pending, outcome.as_ref().ok());
            if let Ok(receipt) = &outcome {
                for (index, change) in changes {
                    if receipt.position(*index).is_some() {
                        self.heed(locked, change, false)?;
                    }
                }
            }
            outcomes.extend(pending.ticket().map(|ticket| (ticket.clone(), outcome)));
        }
        Ok(outcomes)
    }

    /// Appends a batch to this process's own log, if it is admitted.
    fn take_in(
        &mut self,
        locked: &LockedState,
        batch: log::Batch,
        is_last: bool,
        changes: &[(usize, Change)],
    ) -> Result<Result<log::Receipt, Refusal>> {
        let changes: Vec<&Change> = changes.iter().map(|(_, change)| change).collect();
        let state = locked.state();
        if let Err(refusal) = fencing::admit_batch(state, self.boot, self.time, &changes) {
            return Ok(Err(refusal));
        }
        if state.is_of_trimmed() {
            self.log.assume_trimmed();
        }
        match self.writing.append(batch, is_last) {
            Ok(receipt) => Ok(Ok(receipt)),
            Err(log::Error::Conflict(conflict)) => Ok(Err(Refusal::Conflict(conflict))),
            Err(error) => Err(log_error::of_log(error)),
        }
    }

    /// Does what a record that was applied means to the link: a process that has opened is answered,
    /// and one that was fenced opens again.
    fn heed(&mut self, locked: &mut LockedState, change: &Change, is_fenced: bool) -> Result<()> {
        if let Change::Opened(opened) = change {
            let mut outbox = self.link.outbox().lock();
            outbox.answer();
            if let Err(why) = outbox.check_followed(&opened.name, &opened.follows) {
                self.usurped.get_or_insert(why);
            }
        }
        if is_fenced {
            let (submitted, opened) = self.link.outbox().lock().reopen()?;
            locked.submitted_first(submitted, opened);
        }
        Ok(())
    }
}

/// Gives away the slots that are to go and of which no event is in a member's hands.
fn release_slots(engine: &EngineInner) -> Result<()> {
    let mut locked = engine.locked();
    for name in locked.groups_here() {
        group_progress::record(engine, &mut locked, &name)?;
        let Some((session, group)) = locked.session_mut(&name) else {
            continue;
        };
        let Some(released) = session.release_slots(&name, group) else {
            continue;
        };
        let changes = vec![Change::Released(released.clone())];
        let batch = batch_of(&changes)?;
        let said = engine.submit_locked(&mut locked, batch, changes, Terms::default());
        if said.is_err()
            && let Some((session, _)) = locked.session_mut(&name)
        {
            session.keep_slots(&released);
        }
    }
    Ok(())
}

/// Where a frame that is folded comes from, for errors to name it.
#[derive(Clone, Copy)]
struct Source<'a> {
    server: &'a Server,
    /// Its last message.
    sequence: u64,
    /// Where its first record is going to be.
    position: Position,
}

impl Source<'_> {
    /// The control records of a batch, and which they are; `before` it are as many records in the
    /// frame.
    fn changes(self, batch: &log::Batch, before: usize) -> Result<Vec<(usize, Change)>> {
        let mut changes = Vec::new();
        for (index, (kind, body)) in batch.bodies().enumerate() {
            // No later than there: those before it may be duplicates, or refused.
            let position = Position::new(self.position.get() + (before + index) as u64);
            let change = Change::decode(kind, position, body).map_err(|why| {
                let record = before + index;
                self.corrupt(format_args!("ends in a frame whose record {record} {why}"))
            })?;
            changes.extend(change.map(|change| (index, change.light())));
        }
        Ok(changes)
    }

    /// The error of a frame that says what cannot be.
    fn corrupt(self, what: impl std::fmt::Display) -> EngineError {
        let Server {
            shown, namespace, ..
        } = self.server;
        let sequence = self.sequence;
        EngineError::Corrupt(format!(
            "message {sequence} of the shared log `{namespace}` at `{shown}` {what}"
        ))
    }
}
