//! The warehouse, the carrier and the customer.

use super::{Answer, Line, Refusal};
use crate::events::Status;

/// Picks and packs what is paid.
#[derive(Clone)]
pub struct Warehouse(Line);

/// Collects parcels and delivers them.
#[derive(Clone)]
pub struct Carrier(Line);

/// Hears from us, and has the last word.
#[derive(Clone)]
pub struct Customer(Line);

impl Warehouse {
    pub(super) fn new(line: Line) -> Self {
        Self(line)
    }

    /// Has an order picked, which begins as soon as it is paid.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn pick(&self, order_id: &str) -> Result<Answer, Refusal> {
        let ask = self.0.call(order_id, |history| {
            let paid = history.approved.unwrap_or(history.placed);
            Ok(Answer::Done((), paid))
        });
        ask.await
    }
}

impl Carrier {
    pub(super) fn new(line: Line) -> Self {
        Self(line)
    }

    /// Has the parcel collected.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn collect(&self, order_id: &str) -> Result<Answer, Refusal> {
        let ask = self.0.call(order_id, |history| {
            let paid = history.approved.unwrap_or(history.placed);
            Ok(Answer::to(history.collected, history.ended, paid))
        });
        ask.await
    }

    /// Has the parcel delivered; the customer signs for it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn deliver(&self, order_id: &str) -> Result<Answer, Refusal> {
        let ask = self.0.call(order_id, |history| {
            let collected = history.collected.unwrap_or(history.placed);
            Ok(Answer::to(history.delivered, history.ended, collected))
        });
        ask.await
    }
}

impl Customer {
    pub(super) fn new(line: Line) -> Self {
        Self(line)
    }

    /// Whether the customer gives back what was delivered, and what becomes of the order then.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn give_back(&self, order_id: &str) -> Result<Answer<Status>, Refusal> {
        let ask = self.0.call(order_id, |history| {
            let delivered = history.delivered.unwrap_or(history.placed);
            Ok(match history.ended {
                Some(status) => Answer::Done(status, delivered),
                None => Answer::Unknown,
            })
        });
        ask.await
    }

    /// Tells the customer something. The message carries the event's id, so that a mailbox can
    /// drop the second of two.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn tell(&self, event_id: &str, order_id: &str, news: &str) -> Result<(), Refusal> {
        let ask = self.0.call(order_id, |_| {
            tracing::info!(event_id, order_id, news, "told the customer");
            Ok(())
        });
        ask.await
    }
}
