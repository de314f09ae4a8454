//! Receipts: files what the customer signed.

use ensue::prelude::*;

use crate::events::{OrderPayment, OrderSigned, OrderSignedReceived};

/// `order.signed` → `order.signed_received`, with the charge that `order.payment` told of.
///
/// What it remembers of an order until then is state, which is committed together with the
/// position: no crash can come between the two.
pub struct Receipts;

/// What an order was charged, as its payment told.
#[derive(State, Serialize, Deserialize)]
#[state(name = "charge")]
struct Charge(String);

#[service]
impl Receipts {
    #[on]
    async fn remember(&self, order: OrderPayment) -> Effects {
        Effects::none().set_state(Charge(order.charge))
    }

    #[on(publishes = [OrderSignedReceived])]
    async fn file(&self, order: OrderSigned, ctx: &Context) -> Result<Effects, Failure> {
        let charge: Option<Charge> = ctx.state().await?;
        let receipt = OrderSignedReceived {
            order_id: order.order_id,
            charge: charge.ok_or("signed for, but never paid").or_reject()?.0,
            signed_at: ctx.time(),
        };
        Ok(Effects::none()
            .publish(Outgoing::new(receipt).time(ctx.time()))
            .clear_state::<Charge>())
    }
}

#[cfg(test)]
mod tests {
    use ensue::testing::Scenario;

    use super::*;

    fn signed() -> OrderSigned {
        OrderSigned {
            order_id: "o-1".into(),
        }
    }

    #[tokio::test]
    async fn a_receipt_tells_of_the_charge_that_was_remembered() {
        let paid = OrderPayment {
            order_id: "o-1".into(),
            charge: "charge-1".into(),
        };
        let mut receipts = Scenario::of(Receipts).await.unwrap();
        receipts.given(paid).await.unwrap();
        let outcome = receipts.when(signed()).await.unwrap();
        let receipt: OrderSignedReceived = outcome.envelopes()[0].decode().unwrap();
        assert_eq!(receipt.charge, "charge-1");
    }

    #[tokio::test]
    async fn a_signature_for_an_unpaid_order_is_rejected() {
        let mut receipts = Scenario::of(Receipts).await.unwrap();
        receipts.when(signed()).await.unwrap().then_reject();
    }
}
