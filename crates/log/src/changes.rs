//! What a caller can wait for beside its own batch: more records, or room for the next batch.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::codec::lock;
use crate::error::Result;
use crate::position::Position;
use crate::shared::Shared;
use crate::wait::poll_until;

/// Resolves when records past a position are durable; see [`Log::changed`](crate::Log::changed).
/// Dropping it is always fine.
#[must_use = "futures do nothing unless polled or waited for"]
#[derive(Debug)]
pub struct Changed {
    shared: Arc<Shared>,
    past: u64,
    number: Option<u64>,
}

impl Changed {
    pub(crate) fn new(shared: Arc<Shared>, past: Position) -> Self {
        Self {
            shared,
            past: past.get(),
            number: None,
        }
    }

    fn ready(&self) -> Option<Result<Position>> {
        let durable = self.shared.store.durable();
        if durable > self.past {
            return Some(Ok(Position::new(durable)));
        }
        self.shared.stopped().map(Err)
    }

    /// Blocks the thread until it resolves.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`](crate::Error::Poisoned) or [`Error::Closed`](crate::Error::Closed) when no more records will come.
    pub fn wait(self) -> Result<Position> {
        self.shared.block_until(|| self.ready())
    }
}

impl Future for Changed {
    type Output = Result<Position>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut number = this.number.take();
        let wakers = &this.shared.wakers;
        let polled = poll_until(wakers, &mut number, context.waker(), || this.ready());
        this.number = number;
        polled
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            lock(&self.shared.wakers).forget(number);
        }
    }
}

/// Resolves when a submit that was refused as full is worth trying again; see
/// [`Log::room`](crate::Log::room). Also resolves when the log stops: the submit then says why.
#[must_use = "futures do nothing unless polled or waited for"]
#[derive(Debug)]
pub struct Room {
    shared: Arc<Shared>,
    /// How many frames had left the queue when it was made.
    frames: u64,
    number: Option<u64>,
}

impl Room {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let frames = shared.frames_done();
        Self {
            shared,
            frames,
            number: None,
        }
    }

    fn ready(&self) -> bool {
        self.shared.frames_done() != self.frames
            || self.shared.is_queue_empty()
            || self.shared.stopped().is_some()
    }

    /// Blocks the thread until it resolves. Does the writing itself when no other thread does.
    pub fn wait(self) {
        self.shared.block_until(|| self.ready().then_some(()));
    }
}

impl Future for Room {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut number = this.number.take();
        let wakers = &this.shared.wakers;
        let ready = || this.ready().then_some(());
        let polled = poll_until(wakers, &mut number, context.waker(), ready);
        this.number = number;
        polled
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            lock(&self.shared.wakers).forget(number);
        }
    }
}
