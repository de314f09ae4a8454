//! What a decision has led to.

use serde::{Deserialize, Serialize};

use crate::engine::Position;

/// A decision that was made, and is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Receipt {
    /// How many events the aggregate has had up to this decision. 0 is an aggregate without any.
    pub version: u64,
    /// How many of them the decision has led to.
    pub events: u64,
    /// Where the last of these events is, or, without any, the last one before: what a view has to have
    /// handled to show this decision, see
    /// [`Engine::wait_until_handled`](crate::Engine::wait_until_handled). As a text it travels in a
    /// header. `None` if the aggregate has no event.
    pub position: Option<Position>,
    /// Whether the decision was made before, under the same id.
    pub is_repeated: bool,
}
