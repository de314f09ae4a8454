//! The storefront: where customers place their orders. It only knocks at the front door; what
//! becomes of an order is the services' business.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;

use ensue::prelude::*;
use tokio::time::Instant;

use crate::events::OrderPlaced;
use crate::summary;
use crate::world::World;

/// How many orders are placed in one go.
const BATCH_ORDERS_MAX: usize = 512;
/// How often orders are placed when there is a rate to keep.
const TICK: Duration = Duration::from_millis(20);

/// Places orders.
#[derive(Debug)]
pub struct Storefront {
    engine: Engine,
    publisher: Publisher,
    rate: Option<NonZeroU32>,
}

impl Storefront {
    /// A storefront that places at most `rate` orders per second.
    pub fn new(engine: Engine, rate: Option<NonZeroU32>) -> Self {
        let publisher = engine.publisher("/storefront");
        Self {
            engine,
            publisher,
            rate,
        }
    }

    /// Places all orders of the world that an earlier run did not place.
    ///
    /// What was placed is known from the log. A batch that was under way when that run was killed
    /// may be placed again: its events have the same ids, and an id is appended once.
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn place_all(&self, world: &dyn World) -> Result<()> {
        let earlier = placed_in(&self.engine).await?;
        let mut orders = world
            .orders()
            .filter(|order| !earlier.contains(&order.order_id))
            .peekable();
        let mut pace = Pace::new(self.rate);
        while orders.peek().is_some() {
            let batch: Vec<_> = orders.by_ref().take(pace.allowed().await).collect();
            self.publisher
                .publish_all(batch.into_iter().map(placed))
                .await?;
        }
        Ok(())
    }
}

/// The orders that are placed, by their ids, as the log says.
///
/// # Errors
/// What the engine reports.
pub async fn placed_in(engine: &Engine) -> Result<HashSet<String>> {
    let mut orders = HashSet::new();
    summary::read_all(engine, OrderPlaced::TOPIC, |order| {
        orders.insert(order.key().to_owned());
    })
    .await?;
    Ok(orders)
}

fn placed(order: OrderPlaced) -> Outgoing {
    let (id, time) = (format!("placed-{}", order.order_id), order.placed_at);
    Outgoing::new(order).id(id).time(time)
}

/// How many orders may be placed by now.
struct Pace {
    rate: Option<NonZeroU32>,
    started: Instant,
    allowed: u64,
}

impl Pace {
    fn new(rate: Option<NonZeroU32>) -> Self {
        Self {
            rate,
            started: Instant::now(),
            allowed: 0,
        }
    }

    /// Waits until at least one order may be placed, and says how many may.
    async fn allowed(&mut self) -> usize {
        let Some(rate) = self.rate else {
            return BATCH_ORDERS_MAX;
        };
        loop {
            let elapsed_ms = self.started.elapsed().as_millis() as u64;
            let due = elapsed_ms * u64::from(rate.get()) / 1_000;
            let allowed = due
                .saturating_sub(self.allowed)
                .min(BATCH_ORDERS_MAX as u64);
            if allowed > 0 {
                self.allowed += allowed;
                return allowed as usize;
            }
            tokio::time::sleep(TICK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_rate_is_allowed() {
        let mut pace = Pace::new(NonZeroU32::new(100));
        let started = Instant::now();
        let mut allowed = 0;
        while allowed < 250 {
            allowed += pace.allowed().await;
        }
        assert_eq!(started.elapsed().as_millis(), 2_500);
    }
}
