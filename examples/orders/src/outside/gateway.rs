//! The payment gateway.

use std::sync::Arc;

use super::{Answer, Ledger, Line, Refusal};

/// Charges customers; idempotent, as real gateways are.
#[derive(Clone)]
pub struct Gateway {
    line: Line,
    ledger: Arc<Ledger>,
}

impl Gateway {
    pub(super) fn new(line: Line, ledger: Arc<Ledger>) -> Self {
        Self { line, ledger }
    }

    /// Charges the customer of an order and yields the charge's number. Equal idempotency keys are
    /// one charge, however often they come.
    ///
    /// # Errors
    /// [`Refusal`]; the customer may have been charged all the same.
    pub async fn charge(
        &self,
        idempotency_key: &str,
        order_id: &str,
    ) -> Result<Answer<String>, Refusal> {
        let ask = self.line.call(order_id, |history| {
            let answer = Answer::to(history.approved, history.ended, history.placed);
            answer.try_map(|()| {
                let charged = self.ledger.charge(idempotency_key, order_id);
                charged.map_err(|error| Refusal::Unreachable(format!("the gateway: {error}")))
            })
        });
        ask.await
    }
}
