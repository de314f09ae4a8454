//! Notifications: keeps the customer in the picture.

use ensue::prelude::*;

use crate::events::{OrderCreated, OrderShipped, OrderSignedReceived, OrderUpdated, Status};
use crate::outside::{Customer, Refusal};

/// Tells the customer what matters; nothing follows from it.
///
/// News that cannot be told do not hold back later ones: `on_dead = "skip"`.
pub struct Notifications {
    /// Wants to know.
    pub customer: Customer,
}

#[service(attempts = 20, backoff = "5ms..250ms", on_dead = "skip")]
impl Notifications {
    #[on]
    async fn created(&self, order: OrderCreated, ctx: &Context) -> Result<(), Refusal> {
        let news = "thank you for your order";
        self.customer.tell(ctx.id(), &order.order_id, news).await
    }

    #[on]
    async fn shipped(&self, order: OrderShipped, ctx: &Context) -> Result<(), Refusal> {
        let news = "your parcel is on its way";
        self.customer.tell(ctx.id(), &order.order_id, news).await
    }

    #[on]
    async fn filed(&self, order: OrderSignedReceived, ctx: &Context) -> Result<(), Refusal> {
        let news = "your receipt is ready";
        self.customer.tell(ctx.id(), &order.order_id, news).await
    }

    #[on]
    async fn updated(&self, order: OrderUpdated, ctx: &Context) -> Result<(), Refusal> {
        let news = match order.status {
            Status::Canceled => "your order is canceled",
            Status::Unavailable => "we are sorry: your order cannot be had",
        };
        self.customer.tell(ctx.id(), &order.order_id, news).await
    }
}

#[cfg(test)]
mod tests {
    use ensue::testing::Scenario;

    use super::*;
    use crate::services::tests::{failing, outside, signed_received};

    #[tokio::test]
    async fn nothing_follows_from_news() {
        let customer = outside().customer();
        let mut notifications = Scenario::of(Notifications { customer }).await.unwrap();
        let news = signed_received("delivered");
        notifications.when(news).await.unwrap().then_nothing();
    }

    #[tokio::test]
    async fn a_customer_who_cannot_be_reached_is_told_later() {
        let customer = failing(100).customer();
        let mut notifications = Scenario::of(Notifications { customer }).await.unwrap();
        let news = signed_received("delivered");
        notifications.when(news).await.unwrap().then_retry();
    }
}
