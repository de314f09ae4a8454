//! The line to the outside, which may be down.

use std::fmt;
use std::sync::Arc;

use ensue::prelude::*;

use crate::world::{History, World};

/// Connects services with the outside; a share of the calls fails.
#[derive(Clone)]
pub struct Line {
    world: Arc<dyn World>,
    faults_percent: u8,
}

/// Why the outside gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The line is down, or something at its other end: it may be up again soon.
    Unreachable(String),
    /// There is no such order, and there will not be.
    UnknownOrder(String),
}

impl Line {
    /// A line to `world` on which `faults_percent` of a hundred calls fail.
    pub fn new(world: Arc<dyn World>, faults_percent: u8) -> Self {
        Self {
            world,
            faults_percent,
        }
    }

    /// Calls the partner that has `ask`'s answer about an order.
    ///
    /// Half of the calls that fail never got through; the others did, and only the answer was
    /// lost: the caller cannot know which.
    pub(super) async fn call<T>(
        &self,
        order_id: &str,
        ask: impl FnOnce(&History) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let history = self.world.history(order_id);
        let history = history.ok_or_else(|| Refusal::UnknownOrder(order_id.to_owned()))?;
        let is_fault = fastrand::u8(..100) < self.faults_percent;
        if is_fault && fastrand::bool() {
            return Err(Refusal::Unreachable(
                "the call did not get through".to_owned(),
            ));
        }
        let answer = ask(&history)?;
        if is_fault {
            return Err(Refusal::Unreachable("the answer was lost".to_owned()));
        }
        Ok(answer)
    }
}

/// Dispatch has two branches, retry and reject; this says which refusal takes which.
impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unreachable(_) => Self::retry(refusal.to_string()),
            Refusal::UnknownOrder(_) => Self::reject(refusal.to_string()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
            Self::UnknownOrder(order_id) => write!(
                f,
                "no partner knows the order `{order_id}`; was it placed with another --input?"
            ),
        }
    }
}
