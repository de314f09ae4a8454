//! How a member that waits is told to look again.

use std::fmt::Debug;

/// What wakes a member. What drives it says how; a member that is woken while it does not wait looks
/// once more the next time that it would wait.
pub(crate) trait Wake: Debug + Send + Sync {
    fn wake(&self);
}
