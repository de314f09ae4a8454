//! What follows from a step of an order's life.

use ensue::Timestamp;
use ensue::prelude::*;

use crate::events::OrderUpdated;

/// The next event of an order, and when it happened: the outside knows that better than our clock.
#[derive(Clone, Debug, PartialEq)]
pub enum Next<E> {
    /// The step was done.
    Done(E, Timestamp),
    /// The step will never be done.
    Ended(OrderUpdated, Timestamp),
    /// No further step is known.
    Nothing,
}

impl<E: Event> IntoEffects for Next<E> {
    fn into_effects(self) -> Result<Effects, Failure> {
        match self {
            Self::Done(event, at) => Outgoing::new(event).time(at).into_effects(),
            Self::Ended(updated, at) => Outgoing::new(updated).time(at).into_effects(),
            Self::Nothing => ().into_effects(),
        }
    }
}
