//! What submitting gives back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::codec::lock;
use crate::error::{Error, Result};
use crate::position::Position;
use crate::shared::Shared;
use crate::wait::{Outcome, Ticket};

/// Where a batch went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub(crate) start: u64,
    pub(crate) len: usize,
    pub(crate) appended: usize,
    /// Only when there were duplicates.
    pub(crate) positions: Option<Arc<[u64]>>,
}

impl Receipt {
    /// The position of the batch's first record. Of a batch of duplicates, where the first of
    /// them was appended before; of an empty batch, the end of the log.
    #[must_use]
    pub fn first(&self) -> Position {
        self.position(0).unwrap_or(Position::new(self.start))
    }

    /// The position of the batch's `index`-th record: for a duplicate, where it was appended
    /// first. `None` when the batch has no such record.
    #[must_use]
    pub fn position(&self, index: usize) -> Option<Position> {
        match &self.positions {
            Some(positions) => positions.get(index).copied().map(Position::new),
            None => (index < self.len).then(|| Position::new(self.start + index as u64)),
        }
    }

    /// Whether the batch's `index`-th record had been appended before and was dropped.
    #[must_use]
    pub fn is_duplicate(&self, index: usize) -> bool {
        let Some(positions) = &self.positions else {
            return false;
        };
        let Some(position) = positions.get(index) else {
            return false;
        };
        // Before the batch, or equal to an earlier record of the batch itself.
        *position < self.start
            || positions
                .iter()
                .take(index)
                .any(|earlier| earlier == position)
    }

    /// The number of records in the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the batch was empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many records were appended: all but the duplicates.
    #[must_use]
    pub fn appended(&self) -> usize {
        self.appended
    }

    /// The position after the last appended record: when the log is durable up to here, so is the
    /// batch.
    #[must_use]
    pub fn end(&self) -> Position {
        let last = (0..self.len).rev().find_map(|index| self.position(index));
        match &self.positions {
            Some(positions) => Position::new(
                positions
                    .iter()
                    .copied()
                    .max()
                    .map_or(self.start, |last| last + 1),
            ),
            None => last.map_or(Position::new(self.start), Position::next),
        }
    }
}

/// A batch on its way to the disk: resolves when it is durable. Dropping it changes nothing.
#[must_use = "the batch is durable only when this has resolved"]
#[derive(Debug)]
pub struct Submitted {
    /// Where the batch will be. Valid once this has resolved without an error.
    pub receipt: Receipt,
    pub(crate) ticket: Option<Arc<Ticket>>,
    /// Where its waker is among those of the ticket.
    pub(crate) slot: Option<usize>,
    pub(crate) shared: Arc<Shared>,
}

impl Submitted {
    /// Blocks the thread until the batch is durable; writes and syncs itself when no other does.
    ///
    /// # Errors
    ///
    /// [`Error::DiskFull`] and [`Error::Poisoned`]: nothing was appended.
    /// [`Error::Indeterminate`]: it may or may not be on disk.
    pub fn wait(self) -> Result<Receipt> {
        let Some(ticket) = &self.ticket else {
            return Ok(self.receipt);
        };
        let outcome = match ticket.outcome() {
            Outcome::Pending => self.shared.wait_for(ticket, lock(&self.shared.state)),
            outcome => outcome,
        };
        self.finish(outcome)
    }

    /// What has become of the batch so far; `None` while it is on its way. Never blocks.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<(), Error>> {
        match self
            .ticket
            .as_ref()
            .map_or(Outcome::Durable, |ticket| ticket.outcome())
        {
            Outcome::Pending => None,
            Outcome::Durable => Some(Ok(())),
            failed => Some(Err(self.shared.failure(failed))),
        }
    }

    fn finish(&self, outcome: Outcome) -> Result<Receipt> {
        match outcome {
            Outcome::Durable => Ok(self.receipt.clone()),
            failed => Err(self.shared.failure(failed)),
        }
    }
}

impl Clone for Submitted {
    /// A second handle of the same batch, which waits on its own.
    fn clone(&self) -> Self {
        let (receipt, ticket) = (self.receipt.clone(), self.ticket.clone());
        Self {
            receipt,
            ticket,
            slot: None,
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Future for Submitted {
    type Output = Result<Receipt, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let outcome = match &this.ticket {
            None => Outcome::Durable,
            Some(ticket) => ticket.poll(&mut this.slot, context.waker()),
        };
        if outcome == Outcome::Pending {
            Poll::Pending
        } else {
            Poll::Ready(this.finish(outcome))
        }
    }
}
