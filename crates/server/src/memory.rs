//! A budget of bytes for the bodies of all requests together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted at a time, in bytes.
const UNIT: usize = 1024;

/// What is left of the budget. Cloning gives the same.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    units_max: usize,
}

/// Bytes that count until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held {
    permits: Option<OwnedSemaphorePermit>,
    bytes: usize,
    units: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let units_max = bytes_max.div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Self {
            units: Arc::new(Semaphore::new(units_max)),
            units_max,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_counts_until_it_is_dropped() {
        let budget = Budget::new(4 * UNIT);
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
}
