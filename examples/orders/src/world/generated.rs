//! A made-up world: as many orders as wanted, the same ones for the same seed.

use std::time::Duration;

use ensue::Timestamp;

use super::{History, World};
use crate::events::{OrderPlaced, Status};

/// 2026-01-01T00:00:00Z, when the made-up shop opens.
const OPENING: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// Made-up orders.
#[derive(Clone, Copy, Debug)]
pub struct Generated {
    orders: usize,
    seed: u64,
}

impl Generated {
    /// `orders` orders; another seed, other orders.
    pub fn new(orders: usize, seed: u64) -> Self {
        Self { orders, seed }
    }
}

impl World for Generated {
    fn len(&self) -> usize {
        self.orders
    }

    fn orders(&self) -> Box<dyn Iterator<Item = OrderPlaced> + Send + '_> {
        let seed = self.seed;
        Box::new((1..=self.orders).map(move |number| {
            let order_id = format!("o-{seed}-{number:07}");
            OrderPlaced {
                customer_id: format!("c-{:05}", stable_hash(&order_id) % 100_000),
                placed_at: live(&order_id).placed,
                order_id,
            }
        }))
    }

    fn history(&self, order_id: &str) -> Option<History> {
        Some(live(order_id))
    }
}

/// The life of an order follows from its id alone: the answer is the same for every caller, in every order.
fn live(order_id: &str) -> History {
    let mut dice = fastrand::Rng::with_seed(stable_hash(order_id));
    let mut after = |earlier: Timestamp, hours: u64| {
        earlier.plus(Duration::from_secs(dice.u64(60..hours * 3600)))
    };
    let placed = after(OPENING, 365 * 24);
    let approved = after(placed, 24);
    let collected = after(approved, 72);
    let delivered = after(collected, 240);
    let (steps, ended) = match dice.u8(..100) {
        0 => (0, None),
        1 => (0, Some(Status::Canceled)),
        2 => (1, Some(Status::Unavailable)),
        3 => (1, Some(Status::Canceled)),
        4..7 => (1, None),
        7 => (2, Some(Status::Canceled)),
        8..11 => (2, None),
        11 => (3, Some(Status::Canceled)),
        _ => (3, None),
    };
    History {
        placed,
        approved: (steps > 0).then_some(approved),
        collected: (steps > 1).then_some(collected),
        delivered: (steps > 2).then_some(delivered),
        ended,
    }
}

/// FNV-1a: the hashes of the standard library may change from one version to the next.
fn stable_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_makes_the_same_orders() {
        let orders = |seed| Generated::new(50, seed).orders().collect::<Vec<_>>();
        assert_eq!(orders(1), orders(1));
        assert_ne!(orders(1), orders(2));
    }

    #[test]
    fn steps_follow_one_another() {
        let world = Generated::new(1_000, 1);
        for order in world.orders() {
            let history = world.history(&order.order_id).unwrap();
            let steps = [history.approved, history.collected, history.delivered];
            let done: Vec<_> = steps.into_iter().map_while(|step| step).collect();
            assert_eq!(
                done.len(),
                steps.iter().flatten().count(),
                "no step is left out"
            );
            assert!(done.is_sorted() && done.first().is_none_or(|first| *first > history.placed));
        }
    }
}
