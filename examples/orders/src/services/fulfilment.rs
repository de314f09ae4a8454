//! Fulfilment: gets the goods off the shelf.

use ensue::prelude::*;

use crate::events::{OrderPayment, OrderProcessing};
use crate::next::Next;
use crate::outside::{Refusal, Warehouse};

/// `order.payment` → `order.processing`.
pub struct Fulfilment {
    /// Picks and packs.
    pub warehouse: Warehouse,
}

#[service(attempts = 20, backoff = "5ms..250ms")]
impl Fulfilment {
    #[on]
    async fn pick(&self, order: OrderPayment) -> Result<Next<OrderProcessing>, Refusal> {
        let picked = self.warehouse.pick(&order.order_id).await?;
        Ok(picked.next(order.order_id, |order_id, ()| OrderProcessing { order_id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::tests::{at, outside};

    #[tokio::test]
    async fn what_is_paid_is_processed() {
        let warehouse = outside().warehouse();
        let paid = OrderPayment {
            order_id: "delivered".into(),
            charge: "charge-1".into(),
        };
        let processing = OrderProcessing {
            order_id: "delivered".into(),
        };
        let next = Fulfilment { warehouse }.pick(paid).await.unwrap();
        assert_eq!(next, Next::Done(processing, at(2)));
    }
}
