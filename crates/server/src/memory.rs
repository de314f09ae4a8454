//! A budget of bytes for the bodies of all requests together, or for all answers, of which a caller has a share.
//!
//! The last part of a budget is for small ones: who sends or takes much, and slowly, cannot make the
//! server refuse everyone else.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted at a time, in bytes.
pub(crate) const UNIT: usize = 1024;
/// What is small, in bytes, and which part of a budget only that may use.
pub(crate) const SMALL: usize = 64 * 1024;
const RESERVED_SHARE: usize = 8;
/// How many units there may be: a count of them fits into 32 bits.
const UNITS_MAX: usize = u32::MAX as usize / 4;

/// What is left of the budget. Cloning gives the same.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    units_max: usize,
    units_reserved: usize,
}

/// How much one caller may hold of a budget, so that it is never all of it. Cloning gives the same.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    units: Arc<Semaphore>,
    units_max: usize,
}

/// Bytes that count until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held {
    share: Option<Share>,
    of_share: Option<OwnedSemaphorePermit>,
    permits: Option<OwnedSemaphorePermit>,
    bytes: usize,
    units: usize,
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT).min(UNITS_MAX)
}

impl Share {
    /// A share of `bytes_max`.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let units_max = units(bytes_max);
        Self {
            units: Arc::new(Semaphore::new(units_max)),
            units_max,
        }
    }

    /// Nothing yet, of what will count in this share as well.
    pub(crate) fn held(&self) -> Held {
        Held {
            share: Some(self.clone()),
            ..Held::default()
        }
    }
}

impl Budget {
    /// A budget of `bytes_max`, of which one may have `one_bytes_max` when nothing else is held.
    pub(crate) fn new(bytes_max: usize, one_bytes_max: usize) -> Self {
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
        if bytes == 0 {
            return true;
        }
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
        let share = held.share.as_ref();
        let Ok(of_share) = share
            .map(|share| share.units.clone().try_acquire_many_owned(count))
            .transpose()
        else {
            return false;
        };
        let Ok(permits) = self.units.clone().try_acquire_many_owned(count) else {
            return false;
        };
        held.add(of_share, permits, more);
        held.bytes = total;
        true
    }

    /// Waits until there is room for `bytes`, or for as much as there may ever be, besides what others hold;
    /// of more than that, all others have to be gone. Who waits holds nothing (else two would wait for each
    /// other) and has its turn: those that came later get what is left.
    pub(crate) async fn wait(&self, mut held: Held, bytes: usize) -> Held {
        held.clear();
        let share_max = held.share.as_ref().map_or(UNITS_MAX, |it| it.units_max);
        let wanted = units(bytes).min(share_max).min(self.units_max);
        let reserved = if bytes > SMALL {
            self.units_reserved.min(self.units_max - wanted)
        } else {
            0
        };
        let of_share = match &held.share {
            Some(share) => acquire(&share.units, wanted).await,
            None => None,
        };
        // The semaphores are never closed.
        let Some(mut permits) = acquire(&self.units, wanted + reserved).await else {
            return held;
        };
        drop(permits.split(reserved));
        held.add(of_share, permits, wanted);
        held.bytes = bytes;
        held
    }

    /// How many bytes are held, rounded up.
    pub(crate) fn in_use(&self) -> usize {
        (self.units_max - self.units.available_permits()) * UNIT
    }
}

async fn acquire(semaphore: &Arc<Semaphore>, units: usize) -> Option<OwnedSemaphorePermit> {
    let count = u32::try_from(units).ok()?;
    semaphore.clone().acquire_many_owned(count).await.ok()
}

impl Held {
    fn add(
        &mut self,
        of_share: Option<OwnedSemaphorePermit>,
        permits: OwnedSemaphorePermit,
        units: usize,
    ) {
        for (held, more) in [
            (&mut self.of_share, of_share),
            (&mut self.permits, Some(permits)),
        ] {
            match (held.as_mut(), more) {
                (Some(held), Some(more)) => held.merge(more),
                (None, more) => *held = more,
                (Some(_), None) => {}
            }
        }
        self.units += units;
    }

    /// How many bytes count.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many of the bytes are gone: others may use the room.
    pub(crate) fn let_go(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        let units = self.bytes.div_ceil(UNIT);
        for permits in [&mut self.of_share, &mut self.permits]
            .into_iter()
            .flatten()
        {
            drop(permits.split(self.units.saturating_sub(units)));
        }
        self.units = self.units.min(units);
    }

    /// All of them are gone.
    pub(crate) fn clear(&mut self) {
        self.let_go(self.bytes);
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

    #[test]
    fn one_caller_may_have_its_share_and_no_more() {
        let budget = Budget::new(16 * SMALL, SMALL);
        let share = Share::new(4 * SMALL);
        let mut held: Vec<Held> = Vec::new();
        loop {
            let mut more = share.held();
            if !budget.hold(&mut more, SMALL) {
                break;
            }
            held.push(more);
        }
        assert_eq!((held.len(), budget.in_use()), (4, 4 * SMALL));
        let mut other = Share::new(4 * SMALL).held();
        assert!(budget.hold(&mut other, 2 * SMALL), "others have room");
        held[0].let_go(SMALL / 2);
        assert!(budget.hold(&mut share.held(), SMALL / 2));
        drop(held);
        assert!(budget.hold(&mut share.held(), 3 * SMALL));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_room_has_it_when_others_let_go_of_theirs() {
        let budget = Budget::new(16 * SMALL, SMALL);
        let mut held = Held::default();
        assert!(budget.hold(&mut held, 12 * SMALL));
        let wait = |share: Share, bytes| {
            let budget = budget.clone();
            tokio::spawn(async move { budget.wait(share.held(), bytes).await })
        };
        let (share, other) = (Share::new(8 * SMALL), Share::new(8 * SMALL));
        let first = wait(share.clone(), 4 * SMALL);
        let second = wait(share, 8 * SMALL);
        let whole = wait(other, usize::MAX);
        let settle = || tokio::time::sleep(std::time::Duration::from_millis(1));
        settle().await;
        assert!(!first.is_finished(), "an eighth is for small ones");
        held.let_go(2 * SMALL);
        settle().await;
        assert!(first.is_finished());
        drop(held);
        settle().await;
        assert!(!second.is_finished(), "its caller has half of its share");
        assert!(whole.is_finished(), "no more than its share");
        let (first, whole) = (first.await.unwrap(), whole.await.unwrap());
        assert_eq!(whole.bytes(), usize::MAX);
        assert_eq!(budget.in_use(), 12 * SMALL);
        drop((first, whole));
        let second = second.await.unwrap();
        assert_eq!(budget.in_use(), 8 * SMALL);
        drop(second);
        assert_eq!(budget.in_use(), 0);
    }
}
