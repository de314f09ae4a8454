//! Shipping: gets the parcel to the customer.

use ensue::prelude::*;

use crate::events::{OrderProcessing, OrderShipped, OrderSigned, OrderUpdated};
use crate::next::Next;
use crate::outside::{Carrier, Refusal};

/// `order.processing` → `order.shipped` → `order.signed`, or `order.updated` in place of either.
pub struct Shipping {
    /// Carries parcels.
    pub carrier: Carrier,
}

#[service(attempts = 20, backoff = "5ms..250ms")]
impl Shipping {
    #[on(publishes = [OrderShipped, OrderUpdated])]
    async fn ship(&self, order: OrderProcessing) -> Result<Next<OrderShipped>, Refusal> {
        let collected = self.carrier.collect(&order.order_id).await?;
        Ok(collected.next(order.order_id, |order_id, ()| OrderShipped { order_id }))
    }

    #[on(publishes = [OrderSigned, OrderUpdated])]
    async fn deliver(&self, order: OrderShipped) -> Result<Next<OrderSigned>, Refusal> {
        let delivered = self.carrier.deliver(&order.order_id).await?;
        Ok(delivered.next(order.order_id, |order_id, ()| OrderSigned { order_id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Status;
    use crate::services::tests::{at, outside};

    fn shipping() -> Shipping {
        let carrier = outside().carrier();
        Shipping { carrier }
    }

    fn processing(order_id: &str) -> OrderProcessing {
        let order_id = order_id.into();
        OrderProcessing { order_id }
    }

    #[tokio::test]
    async fn a_parcel_is_shipped_when_the_carrier_collects_it() {
        let shipped = OrderShipped {
            order_id: "delivered".into(),
        };
        let next = shipping().ship(processing("delivered")).await.unwrap();
        assert_eq!(next, Next::Done(shipped, at(3)));
    }

    #[tokio::test]
    async fn goods_that_are_not_to_be_had_are_never_shipped() {
        let updated = OrderUpdated {
            order_id: "unavailable".into(),
            status: Status::Unavailable,
        };
        let next = shipping().ship(processing("unavailable")).await.unwrap();
        assert_eq!(next, Next::Ended(updated, at(2)));
    }

    #[tokio::test]
    async fn of_a_parcel_on_its_way_nothing_more_is_known() {
        let shipped = OrderShipped {
            order_id: "on its way".into(),
        };
        assert_eq!(shipping().deliver(shipped).await.unwrap(), Next::Nothing);
    }
}
