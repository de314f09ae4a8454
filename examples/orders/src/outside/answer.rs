//! What those outside answer.

use ensue::Timestamp;

use crate::events::{OrderUpdated, Status};
use crate::next::Next;

/// What became of a step of an order; done, it may yield something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T = ()> {
    /// It is done, since then.
    Done(T, Timestamp),
    /// It will never be done: the order ended like this, at this time.
    Ended(Status, Timestamp),
    /// Nothing is known of it.
    Unknown,
}

impl Answer {
    /// The answer to whether a step was `done`; one that was not ended, if the order did, with
    /// what came `before` it.
    pub(super) fn to(done: Option<Timestamp>, ended: Option<Status>, before: Timestamp) -> Self {
        match (done, ended) {
            (Some(at), _) => Self::Done((), at),
            (None, Some(status)) => Self::Ended(status, before),
            (None, None) => Self::Unknown,
        }
    }
}

impl<T> Answer<T> {
    /// The same answer, with what the step yields.
    pub(super) fn try_map<U, E>(
        self,
        yields: impl FnOnce(T) -> Result<U, E>,
    ) -> Result<Answer<U>, E> {
        Ok(match self {
            Self::Done(value, at) => Answer::Done(yields(value)?, at),
            Self::Ended(status, at) => Answer::Ended(status, at),
            Self::Unknown => Answer::Unknown,
        })
    }

    /// What follows for the order: `event` if the step is done.
    pub fn next<E>(self, order_id: String, event: impl FnOnce(String, T) -> E) -> Next<E> {
        match self {
            Self::Done(value, at) => Next::Done(event(order_id, value), at),
            Self::Ended(status, at) => Next::Ended(OrderUpdated { order_id, status }, at),
            Self::Unknown => Next::Nothing,
        }
    }
}
