//! What is written: the same for a projection and for who does without.

use ensue::prelude::*;

pub(super) const TOPIC: &str = "orders";

#[derive(Clone, Event, Serialize, Deserialize)]
#[event(type = "order.placed", topic = "orders", key = customer)]
pub(super) struct OrderPlaced {
    pub(super) number: i64,
    pub(super) customer: String,
    pub(super) cents: i64,
    pub(super) note: String,
}

/// About 200 bytes of JSON.
pub(super) fn order(number: usize) -> OrderPlaced {
    OrderPlaced {
        number: i64::try_from(number).unwrap_or(i64::MAX),
        customer: format!("customer-{}", number % 1_000),
        cents: 100 + i64::try_from(number % 10_000).unwrap_or_default(),
        note: "x".repeat(120),
    }
}
