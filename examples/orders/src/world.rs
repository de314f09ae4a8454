//! The world outside, which no service owns: who orders what, and what really happens then.

mod generated;
mod recorded;

use ensue::Timestamp;

pub use self::generated::Generated;
pub use self::recorded::{Recorded, RecordedError};
use crate::events::{OrderPlaced, Status};

/// Everything that happens outside.
///
/// It answers the same for an order whenever it is asked, so that neither the order in which
/// services get to ask nor a restart changes anything.
pub trait World: Send + Sync + 'static {
    /// How many orders are placed.
    fn len(&self) -> usize;

    /// Whether there are no orders.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The orders that customers place.
    fn orders(&self) -> Box<dyn Iterator<Item = OrderPlaced> + Send + '_>;

    /// What happens to an order; `None` if there is no such order.
    fn history(&self, order_id: &str) -> Option<History>;
}

/// What happens to one order. A step without a time never happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// The customer places it.
    pub placed: Timestamp,
    /// The gateway approves the payment.
    pub approved: Option<Timestamp>,
    /// The carrier collects the parcel.
    pub collected: Option<Timestamp>,
    /// The customer signs for the parcel.
    pub delivered: Option<Timestamp>,
    /// How it ends, if it does not go its way.
    pub ended: Option<Status>,
}
