//! Reading the shared log and folding it into this process's own.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ensue_log as log;

use super::frame::{Kind, Part, batches};
use super::{Pause, Refusal, failure, fetch};
use crate::engine::embedded::cluster::Writer;
use crate::engine::embedded::core::{Core, Pending};
use crate::engine::embedded::record::{Change, Framed};
use crate::engine::embedded::shared::Shared;
use crate::engine::embedded::submission::Submission;
use crate::engine::shared_log::Message;
use crate::error::{Error, Result};

/// How much one read asks for.
const READ_BYTES: usize = 4 * 1024 * 1024;
/// How long a read waits for something new, at the most.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where reading stands.
#[derive(Debug)]
struct Reader {
    /// The sequence number to go on from.
    next: u64,
    /// Frames of which some parts are here.
    partial: HashMap<Writer, Partial>,
    /// Whether the server has to prove that it has what was read, because it was away.
    is_doubtful: bool,
}

#[derive(Debug)]
struct Partial {
    first: u64,
    counter: u64,
    parts: u16,
    body: Vec<u8>,
}

/// A whole frame.
struct Frame {
    last: Part,
    sequence: u64,
    body: bytes::Bytes,
}

/// Starts the task that reads; it holds the engine only while it works.
pub(super) fn start(shared: &Arc<Shared>) {
    let mark = shared.core().state.cluster.mark;
    let reader = Reader {
        next: mark.map_or(0, |mark| mark.resume),
        partial: HashMap::new(),
        is_doubtful: false,
    };
    shared.keep_task(tokio::spawn(run(Arc::downgrade(shared), reader)));
}

async fn run(shared: Weak<Shared>, mut reader: Reader) {
    let mut pause = Pause::default();
    loop {
        let Some((log, patience)) = shared.upgrade().and_then(|shared| {
            let replica = shared.replica.as_ref()?;
            // A read that waits longer counts as a pause, after which this process knows nothing
            // of the others: it would never take anybody for dead.
            let patience = PATIENCE.min(replica.lease / 4);
            Some((replica.shared_log.clone(), patience))
        }) else {
            return;
        };
        let from = match reader.is_doubtful {
            true => shared.upgrade().map_or(reader.next, |shared| {
                let mark = shared.core().state.cluster.mark;
                mark.map_or(reader.next, |mark| mark.sequence.min(reader.next))
            }),
            false => reader.next,
        };
        let read = log.read(from, READ_BYTES, patience).await;
        drop(log);
        let Some(engine) = shared.upgrade() else {
            return;
        };
        let outcome = match read {
            Ok(messages) => {
                let turn = (engine.clone(), reader, messages);
                let folded = fetch::blocking(move || {
                    let (engine, mut reader, messages) = turn;
                    let outcome = reader.take(&engine, messages);
                    Ok((reader, outcome))
                });
                match folded.await {
                    Ok((back, outcome)) => {
                        reader = back;
                        outcome
                    }
                    Err(_) => return,
                }
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {
                pause = Pause::default();
                engine.was_heard(None);
            }
            Err(Error::Unavailable { reason, .. }) => {
                tracing::warn!(reason, "cannot read the shared log, trying again");
                engine.was_heard(Some(reason));
                reader.is_doubtful = true;
                drop(engine);
                pause.wait().await;
            }
            Err(Error::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "the engine stops");
                engine.halt(Refusal::Stopped(error.to_string()));
                engine.was_heard(Some(error.to_string()));
                engine.fence_all();
                return;
            }
        }
    }
}

impl Reader {
    /// Folds what was read. Blocks.
    fn take(&mut self, shared: &Shared, messages: Vec<Message>) -> Result<()> {
        let mut messages = messages.into_iter().peekable();
        if self.is_doubtful {
            self.verify(shared, messages.peek())?;
            self.is_doubtful = false;
        }
        for message in messages {
            if message.sequence < self.next {
                continue;
            }
            let part = Part::read(message.sequence, &message.body)?;
            shared.hear(part.writer);
            if part.kind == Kind::Frame
                && let Some(frame) = self.join(message.sequence, part)
            {
                self.fold(shared, frame)?;
            }
            self.next = message.sequence + 1;
        }
        shared.release_slots()?;
        Ok(())
    }

    /// After the server was away: whether it still has the last frame that was folded.
    fn verify(&self, shared: &Shared, first: Option<&Message>) -> Result<()> {
        let Some(mark) = shared.core().state.cluster.mark else {
            return Ok(());
        };
        let is_there = first.is_some_and(|message| {
            let part = Part::read(message.sequence, &message.body);
            message.sequence == mark.sequence && part.is_ok_and(|it| it.checksum == mark.checksum)
        });
        match is_there {
            true => Ok(()),
            false => Err(Error::Corrupt(format!(
                "the server came back without message {} of the shared log, which it had \
                 delivered: it lost what it had acknowledged, see `ensue doctor`; a restart of \
                 this process goes on from what the server has",
                mark.sequence
            ))),
        }
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
            return Err(Error::Corrupt(format!(
                "the frame at message {} of the shared log cannot be read",
                frame.sequence
            )));
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
        let Some(boot) = state.admit_frame(last.writer, last.counter, first.as_ref(), position)
        else {
            return Ok(());
        };
        replica.time.fetch_max(last.time, Ordering::AcqRel);
        let is_own = core
            .outbox
            .as_ref()
            .is_some_and(|it| it.writer == last.writer);
        match is_own {
            true => core.fold_own(shared, boot, last.counter, batches)?,
            false => core.fold_other(shared, boot, batches)?,
        }
        core.mark(
            shared,
            Framed {
                writer: last.writer,
                counter: last.counter,
                sequence,
                checksum: last.checksum,
                resume,
            },
        )
    }
}

impl Core {
    /// Folds batches of another process.
    fn fold_other(&mut self, shared: &Shared, boot: u64, batches: Vec<log::Batch>) -> Result<()> {
        for batch in batches {
            let changes = changes(&batch)?;
            let Ok(receipt) =
                self.take_in(shared, boot, batch, changes.iter().map(|(_, it)| it))?
            else {
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

    /// Folds batches of this process, and says what became of them.
    fn fold_own(
        &mut self,
        shared: &Shared,
        boot: u64,
        counter: u64,
        batches: Vec<log::Batch>,
    ) -> Result<()> {
        let expected = self.outbox.as_mut().map_or(0, |it| it.read_back(counter));
        let mut outcomes = Vec::with_capacity(batches.len());
        for batch in batches.into_iter().take(expected) {
            let Some(pending) = self.pop_pending() else {
                break;
            };
            let changes: Vec<Change> = pending.changes.iter().map(|(_, it)| it.clone()).collect();
            let outcome = self.take_in(shared, boot, batch, changes.iter())?;
            if let Some(Change::Opened(_)) = changes.first() {
                self.boot = boot;
            }
            self.conclude(&pending, outcome.as_ref().ok());
            let Pending { submitted, .. } = pending;
            if let Submission::Shared(ticket) = submitted {
                outcomes.push((ticket, outcome));
            }
        }
        if let Some(outbox) = &mut self.outbox {
            outbox.conclude(counter, outcomes);
        }
        Ok(())
    }

    /// Appends a batch to this process's own log, if it is admitted.
    fn take_in<'a>(
        &mut self,
        shared: &Shared,
        boot: u64,
        batch: log::Batch,
        changes: impl Iterator<Item = &'a Change>,
    ) -> Result<Result<log::Receipt, Refusal>> {
        let changes: Vec<&Change> = changes.collect();
        if let Err(refusal) = self.state.admit_batch(boot, &changes) {
            return Ok(Err(refusal));
        }
        match shared.log.append(batch) {
            Ok(receipt) => {
                shared.grew(0);
                Ok(Ok(receipt))
            }
            Err(log::Error::Conflict(conflict)) => Ok(Err(Refusal::Conflict(conflict))),
            Err(error) => Err(failure::of_log(error)),
        }
    }

    /// Notes that a frame was folded whole.
    fn mark(&mut self, shared: &Shared, framed: Framed) -> Result<()> {
        let change = Change::Framed(framed);
        let mut batch = log::Batch::new();
        change.push_to(&mut batch)?;
        let receipt = shared.log.append(batch).map_err(failure::of_log)?;
        let now = self.clock.now();
        self.apply(receipt.first().get(), &change, None, now);
        Ok(())
    }
}

impl Shared {
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

    fn hear(&self, writer: Writer) {
        if let Ok(replica) = self.replica() {
            replica.heard().writers.insert(writer, Instant::now());
        }
    }

    fn fence_all(&self) {
        let mut core = self.core();
        let names: Vec<String> = core.lives.keys().cloned().collect();
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
