//! What happens to an order, as events.
//!
//! The seven events of an order's life are in the topic `orders` under the order's id, which keeps
//! them in order. [`OrderPlaced`] comes before them: it is the front door, and has a topic of its
//! own.

use ensue::Timestamp;
use ensue::prelude::*;

/// A customer has placed an order in the shop.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "order.placed", topic = "checkout", key = order_id)]
pub struct OrderPlaced {
    /// The shop's number for the order.
    pub order_id: String,
    /// Who placed it.
    pub customer_id: String,
    /// When.
    pub placed_at: Timestamp,
}

/// The order exists.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders", key = order_id)]
pub struct OrderCreated {
    /// Which order.
    pub order_id: String,
    /// Who placed it.
    pub customer_id: String,
}

/// The order is paid.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "order.payment", topic = "orders", key = order_id)]
pub struct OrderPayment {
    /// Which order.
    pub order_id: String,
    /// The gateway's number for the charge.
    pub charge: String,
}

/// The warehouse is at work on the order.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "order.processing", topic = "orders", key = order_id)]
pub struct OrderProcessing {
    /// Which order.
    pub order_id: String,
}

/// The carrier has the parcel.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "order.shipped", topic = "orders", key = order_id)]
pub struct OrderShipped {
    /// Which order.
    pub order_id: String,
}

/// The customer has the parcel and signed for it.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "order.signed", topic = "orders", key = order_id)]
pub struct OrderSigned {
    /// Which order.
    pub order_id: String,
}

/// The signed receipt is filed: the event is the file.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "order.signed_received", topic = "orders", key = order_id)]
pub struct OrderSignedReceived {
    /// Which order.
    pub order_id: String,
    /// The gateway's number for the charge that this is the receipt of.
    pub charge: String,
    /// When the customer signed.
    pub signed_at: Timestamp,
}

/// The order has taken another turn, and nothing more will happen to it.
#[derive(Clone, Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(type = "order.updated", topic = "orders", key = order_id)]
pub struct OrderUpdated {
    /// Which order.
    pub order_id: String,
    /// What became of it.
    pub status: Status,
}

/// How an order ends that does not go its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The shop or the customer called it off.
    Canceled,
    /// The goods are not to be had.
    Unavailable,
}

/// The seven events in the order in which they happen to an order; some of them may not happen.
pub const LIFE: [&str; 7] = [
    OrderCreated::TYPE,
    OrderPayment::TYPE,
    OrderProcessing::TYPE,
    OrderShipped::TYPE,
    OrderSigned::TYPE,
    OrderSignedReceived::TYPE,
    OrderUpdated::TYPE,
];
