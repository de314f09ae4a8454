//! Everything at once, at random: points 3, 5 and 6 under publishers, members, an operator and
//! crashes.

use super::crew::{Habits, Storm};
use super::flaw::Verdict;
use super::lab::Lab;

const WILD: Habits = Habits {
    retry: 12,
    dead: 3,
    leave: 3,
    drop: 3,
    again: 10,
    crashes: 0,
};

pub(super) async fn storm_of_failures_leaves_every_event_settled_once(lab: &mut Lab) -> Verdict {
    Storm::new(lab, WILD).run(lab).await
}

pub(super) async fn storm_of_crashes_leaves_every_event_settled_once(lab: &mut Lab) -> Verdict {
    let habits = Habits { crashes: 5, ..WILD };
    Storm::new(lab, habits).run(lab).await
}
