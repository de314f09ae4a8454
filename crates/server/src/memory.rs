//! A budget of bytes for the bodies of all requests together, or for all answers.
//!
//! The last part of a budget is for small ones: who sends or takes much, and slowly, cannot make the
//! server refuse everyone else.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted at a time, in bytes.
const UNIT: usize = 1024;
/// What is small, in bytes, and which part of a budget only that may use.
const SMALL: usize = 64 * 1024;
const RESERVED_SHARE: usize = 8;

/// What is left of the budget. Cloning gives the same.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    units_max: usize,
    units_reserved: usize,
}

/// Bytes that count until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held {
    permits: Option<OwnedSemaphorePermit>,
    bytes: usize,
    units: usize,
}

impl Budget {
    /// A budget of `bytes_max`, of which one may have `one_bytes_max` when nothing else is held.
    pub(crate) fn new(bytes_max: usize, one_bytes_max: usize) -> Self {
        let units = |bytes: usize| bytes.div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        let units_max = units(bytes_max);
        let beside_one = units_max.saturating_sub(units(one_bytes_max));
        Self {
            units: Arc::new(Semaphore::new(units_max)),
            units_max,
            units_reserved: beside_one.min(units_max / RESERVED_SHARE),
        }
    }

    /// Adds `bytes` to what is held; whether there was room. It does not wait for room: two requests
    /// that hold a half each would wait for each other.
    #[must_use]
    pub(crate) fn hold(&self, held: &mut Held, bytes: usize) -> bool {
        let total = held.bytes.saturating_add(bytes);
        let more = total.div_ceil(UNIT).saturating_sub(held.units);
        let Ok(count) = u32::try_from(more) else {
            return false;
        };
        // Others may take what is left meanwhile: the reserve is as exact as it has to be.
        let left = self.units.available_permits().saturating_sub(more);
        if more > 0 && total > SMALL && left < self.units_reserved {
            return false;
        }
        let Ok(permits) = self.units.clone().try_acquire_many_owned(count) else {
            return false;
        };
        match &mut held.permits {
            Some(held) => held.merge(permits),
            None => held.permits = Some(permits),
        }
        held.units += more;
        held.bytes = total;
        true
    }

    /// How many bytes are held, rounded up.
    pub(crate) fn in_use(&self) -> usize {
        (self.units_max - self.units.available_permits()) * UNIT
    }
}

impl Held {
    /// So many of the bytes are gone: others may use the room.
    pub(crate) fn let_go(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        let units = self.bytes.div_ceil(UNIT);
        if let Some(permits) = &mut self.permits {
            drop(permits.split(self.units.saturating_sub(units)));
        }
        self.units = units;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_counts_until_it_is_dropped() {
        let budget = Budget::new(4 * UNIT, 4 * UNIT);
        let (mut one, mut other) = (Held::default(), Held::default());
        assert!(budget.hold(&mut one, 1) && budget.hold(&mut one, UNIT));
        assert_eq!(budget.in_use(), 2 * UNIT);
        assert!(budget.hold(&mut other, 2 * UNIT));
        assert!(!budget.hold(&mut other, 1), "the budget is spent");
        assert!(budget.hold(&mut one, UNIT - 1), "within what is held");
        drop(one);
        assert!(budget.hold(&mut other, 1));
        assert!(!budget.hold(&mut other, usize::MAX));
        drop(other);
        assert_eq!(budget.in_use(), 0);
    }

    #[test]
    fn what_is_let_go_of_is_room_for_others() {
        let budget = Budget::new(4 * UNIT, 4 * UNIT);
        let (mut one, mut other) = (Held::default(), Held::default());
        assert!(budget.hold(&mut one, 4 * UNIT));
        one.let_go(UNIT - 1);
        assert_eq!(budget.in_use(), 4 * UNIT, "a part of a unit is one");
        one.let_go(UNIT + 1);
        assert!(budget.hold(&mut other, 2 * UNIT));
        assert!(!budget.hold(&mut one, 1));
        one.let_go(usize::MAX);
        drop(other);
        assert_eq!(budget.in_use(), 0);
    }

    #[test]
    fn the_last_part_of_a_budget_is_for_small_ones() {
        let budget = Budget::new(16 * SMALL, SMALL);
        let mut large: Vec<Held> = Vec::new();
        loop {
            let mut held = Held::default();
            if !budget.hold(&mut held, 2 * SMALL) {
                break;
            }
            large.push(held);
        }
        assert_eq!(large.len(), 7, "an eighth is left");
        let mut small = [Held::default(), Held::default()];
        for held in &mut small {
            assert!(budget.hold(held, SMALL));
        }
        assert!(!budget.hold(&mut Held::default(), 1), "the budget is spent");
    }

    #[test]
    fn one_may_have_what_one_may_have() {
        let budget = Budget::new(16 * SMALL, 16 * SMALL);
        assert!(budget.hold(&mut Held::default(), 16 * SMALL));
        let budget = Budget::new(16 * SMALL, 15 * SMALL);
        assert!(budget.hold(&mut Held::default(), 15 * SMALL));
        assert!(!budget.hold(&mut Held::default(), 15 * SMALL + 1));
    }
}
