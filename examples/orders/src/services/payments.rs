//! Payments: gets the money.

use ensue::prelude::*;

use crate::events::{OrderCreated, OrderPayment, OrderUpdated};
use crate::next::Next;
use crate::outside::{Gateway, Refusal};

/// `order.created` → `order.payment`, or `order.updated`.
pub struct Payments {
    /// Charges customers.
    pub gateway: Gateway,
}

#[service(attempts = 20, backoff = "5ms..250ms")]
impl Payments {
    /// The event's id is the idempotency key: however often the event comes, it is one charge.
    #[on(publishes = [OrderPayment, OrderUpdated])]
    async fn charge(
        &self,
        order: OrderCreated,
        ctx: &Context,
    ) -> Result<Next<OrderPayment>, Refusal> {
        let charged = self.gateway.charge(ctx.id(), &order.order_id).await?;
        let paid = |order_id, charge| OrderPayment { order_id, charge };
        Ok(charged.next(order.order_id, paid))
    }
}

#[cfg(test)]
mod tests {
    use ensue::testing::Scenario;

    use super::*;
    use crate::events::Status;
    use crate::services::tests::{failing, outside};

    fn created(order_id: &str) -> OrderCreated {
        OrderCreated {
            order_id: order_id.into(),
            customer_id: "c".into(),
        }
    }

    #[tokio::test]
    async fn an_event_that_comes_twice_is_one_charge() {
        let outside = outside();
        let gateway = outside.gateway();
        let mut payments = Scenario::of(Payments { gateway }).await.unwrap();
        let event = Envelope::of(&created("delivered")).unwrap().id("e-1");
        for _delivery in 0..2 {
            let event = event.clone().build().unwrap();
            let paid = OrderPayment {
                order_id: "delivered".into(),
                charge: "charge-e-1".into(),
            };
            payments.when_envelope(event).await.unwrap().then([paid]);
        }
        assert_eq!(outside.ledger().charges_by_order().unwrap()["delivered"], 1);
    }

    #[tokio::test]
    async fn an_order_that_is_called_off_is_not_charged() {
        let outside = outside();
        let gateway = outside.gateway();
        let mut payments = Scenario::of(Payments { gateway }).await.unwrap();
        let updated = OrderUpdated {
            order_id: "canceled".into(),
            status: Status::Canceled,
        };
        let outcome = payments.when(created("canceled")).await.unwrap();
        outcome.then([updated]);
        assert!(outside.ledger().charges_by_order().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_unreachable_is_tried_again_and_what_is_unknown_is_not() {
        let gateway = failing(100).gateway();
        let mut payments = Scenario::of(Payments { gateway }).await.unwrap();
        let outcome = payments.when(created("delivered")).await.unwrap();
        outcome.then_retry();
        let outcome = payments.when(created("unknown")).await.unwrap();
        outcome.then_reject();
    }
}
