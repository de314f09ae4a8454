//! A batch on its way: into the log of this process, or there by way of a shared log.

pub(crate) mod ticket;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use ensue_log as log;

use self::ticket::Ticket;
use crate::engine::Position;
use crate::error::Result;
use crate::log_error;
use crate::log_position::from_log;

/// Resolves when the batch is durable, or was refused. Dropping it changes nothing; a clone is a
/// second handle.
#[derive(Clone, Debug)]
pub(crate) enum PendingWrite {
    /// In the queue of this process's own log.
    Log(log::Submitted),
    /// In the queue of a shared log.
    Shared(Ticket),
}

impl PendingWrite {
    /// Where the batch's `index`-th record will be, if that is known before it is durable.
    pub(crate) fn position(&self, index: usize) -> Option<Position> {
        match self {
            Self::Log(submitted) => submitted.receipt.position(index).map(from_log),
            Self::Shared(_) => None,
        }
    }
}

impl Future for PendingWrite {
    type Output = Result<log::Receipt>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Log(submitted) => Pin::new(submitted).poll(context).map_err(log_error::of_log),
            Self::Shared(ticket) => Pin::new(ticket).poll(context),
        }
    }
}

/// Resolves when a submit that was refused as full is worth trying again. Made before that submit.
#[derive(Debug)]
pub(crate) enum Room {
    Log(log::Room),
    Shared(tokio::sync::watch::Receiver<u64>),
}

impl Room {
    pub(crate) async fn wait(self) {
        match self {
            Self::Log(room) => room.await,
            Self::Shared(mut drained) => {
                // An error says that the engine is gone: the next submit says so, too.
                let _ = drained.changed().await;
            }
        }
    }
}
