//! What came of it, read back from the log and from the gateway's books: counters may forget.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use ensue::engine::{EngineStatus, Query};
use ensue::prelude::*;
use serde::Serialize;

use crate::events::{LIFE, OrderCreated, OrderPayment};

/// What came of all orders in the log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// How many orders there are.
    pub orders: u64,
    /// How many events of each type there are.
    pub events: BTreeMap<&'static str, u64>,
    /// How many of the orders were charged, as the gateway's books say.
    pub charged: u64,
    /// How many of them were charged more than once, by the books or by the log.
    pub charged_twice: u64,
    /// How many orders have events that are not in the order of an order's life.
    pub out_of_order: u64,
    /// How many events could not be handled.
    pub dead_letters: u64,
    /// How many attempts of this run, in this process, failed and were followed by another.
    pub retries: u64,
    /// How long this run took; of one that only reports, how long it had to wait.
    pub seconds: f64,
    /// How many events of an order's life this run added per second.
    pub events_per_second: f64,
}

/// What one run has to say, which no log knows.
#[derive(Clone, Copy, Debug)]
pub struct RunFigures {
    /// How many attempts failed and were followed by another.
    pub retries: u64,
    /// How many events of an order's life were added.
    pub events: u64,
    /// How long it took.
    pub took: Duration,
}

impl Summary {
    /// Reads everything back; `charges` is how many charges each order has, by the gateway's books.
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn read(
        engine: &Engine,
        charges: &HashMap<String, u64>,
        run: RunFigures,
    ) -> Result<Self> {
        let mut lives = Lives::default();
        read_all(engine, OrderCreated::TOPIC, |event| lives.add(event)).await?;
        let status = engine.status().await?;
        let seconds = run.took.as_secs_f64();
        let charges = |order: &str| charges.get(order).copied().unwrap_or_default();
        let count = |holds: &dyn Fn(&str, &Life) -> bool| {
            let orders = lives.by_order.iter();
            orders.filter(|(order, life)| holds(order, life)).count() as u64
        };
        Ok(Self {
            orders: lives.by_order.len() as u64,
            charged: count(&|order, _| charges(order) > 0),
            charged_twice: count(&|order, life| charges(order) > 1 || life.payments > 1),
            out_of_order: count(&|_, life| life.is_out_of_order),
            events: lives.events,
            dead_letters: dead_letters(&status),
            retries: run.retries,
            seconds,
            events_per_second: if run.events > 0 {
                run.events as f64 / seconds
            } else {
                0.0
            },
        })
    }
}

/// How many dead letters there are.
pub fn dead_letters(status: &EngineStatus) -> u64 {
    status.groups.iter().map(|group| group.dead as u64).sum()
}

/// Reads a topic from its beginning to its end.
///
/// # Errors
/// What the engine reports.
pub async fn read_all(engine: &Engine, topic: &str, mut each: impl FnMut(&Envelope)) -> Result<()> {
    let mut events = engine.read(Query {
        topics: Some(topic.parse()?),
        ..Query::default()
    });
    while let Some(event) = events.next().await {
        each(&event?.envelope);
    }
    Ok(())
}

/// What the log says of every order.
#[derive(Debug)]
struct Lives {
    by_order: HashMap<String, Life>,
    events: BTreeMap<&'static str, u64>,
}

/// What the log says of one order.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    /// How many steps of [`LIFE`] are behind it.
    steps: usize,
    payments: u64,
    is_out_of_order: bool,
}

impl Default for Lives {
    fn default() -> Self {
        Self {
            by_order: HashMap::new(),
            events: LIFE.map(|kind| (kind, 0)).into(),
        }
    }
}

impl Lives {
    fn add(&mut self, event: &Envelope) {
        // Other events in the topic are not part of an order's life.
        let Some(step) = LIFE.iter().position(|kind| *kind == event.event_type()) else {
            return;
        };
        if let Some(count) = self.events.get_mut(event.event_type()) {
            *count += 1;
        }
        let life = self.by_order.entry(event.key().to_owned()).or_default();
        // Created comes first, and no step comes again or after a later one.
        let is_next = step >= life.steps && (step == 0) == (life.steps == 0);
        life.is_out_of_order |= !is_next;
        life.steps = step + 1;
        life.payments += u64::from(event.event_type() == OrderPayment::TYPE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_out_of_order(kinds: &[&str]) -> bool {
        let mut lives = Lives::default();
        for kind in kinds {
            let event = Envelope::builder("orders", *kind)
                .key("o-1")
                .source("/test");
            lives.add(&event.build().unwrap());
        }
        lives.by_order["o-1"].is_out_of_order
    }

    #[test]
    fn steps_may_be_left_out_but_not_come_again_or_too_late() {
        assert!(!is_out_of_order(&LIFE));
        assert!(!is_out_of_order(&["order.created", "order.updated"]));
        assert!(is_out_of_order(&["order.payment", "order.processing"]));
        assert!(is_out_of_order(&[
            "order.created",
            "order.payment",
            "order.payment"
        ]));
        assert!(is_out_of_order(&[
            "order.created",
            "order.updated",
            "order.payment"
        ]));
        assert!(is_out_of_order(&[
            "order.created",
            "order.shipped",
            "order.processing"
        ]));
    }
}
