//! Ordering: opens an order, and closes it.

use ensue::prelude::*;

use crate::events::{OrderCreated, OrderPlaced, OrderSignedReceived, OrderUpdated};
use crate::next::Next;
use crate::outside::{Customer, Refusal};

/// `order.placed` → `order.created`; `order.signed_received` → `order.updated`, if the customer
/// gives the goods back.
pub struct Ordering {
    /// Has the last word.
    pub customer: Customer,
}

#[service(attempts = 20, backoff = "5ms..250ms")]
impl Ordering {
    #[on]
    async fn create(&self, order: OrderPlaced) -> Next<OrderCreated> {
        let created = OrderCreated {
            order_id: order.order_id,
            customer_id: order.customer_id,
        };
        Next::Done(created, order.placed_at)
    }

    #[on]
    async fn close(&self, order: OrderSignedReceived) -> Result<Next<OrderUpdated>, Refusal> {
        let returned = self.customer.give_back(&order.order_id).await?;
        Ok(
            returned.next(order.order_id, |order_id, status| OrderUpdated {
                order_id,
                status,
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Status;
    use crate::services::tests::{at, outside, signed_received};

    #[tokio::test]
    async fn a_placed_order_is_created_at_the_time_of_its_placing() {
        let ordering = Ordering {
            customer: outside().customer(),
        };
        let placed = OrderPlaced {
            order_id: "delivered".into(),
            customer_id: "c-1".into(),
            placed_at: at(1),
        };
        let created = OrderCreated {
            order_id: "delivered".into(),
            customer_id: "c-1".into(),
        };
        assert_eq!(ordering.create(placed).await, Next::Done(created, at(1)));
    }

    #[tokio::test]
    async fn goods_that_are_given_back_cancel_the_order() {
        let ordering = Ordering {
            customer: outside().customer(),
        };
        let next = ordering.close(signed_received("delivered")).await.unwrap();
        assert_eq!(next, Next::Nothing);
        let canceled = OrderUpdated {
            order_id: "returned".into(),
            status: Status::Canceled,
        };
        let next = ordering.close(signed_received("returned")).await.unwrap();
        assert_eq!(next, Next::Done(canceled, at(4)));
    }
}
