//! Who watches what is said of log-ins, and what that keeps out.

mod blocked;
mod brute_force;
mod rate;
mod window;

pub use self::blocked::{BLOCKED_MAX, Blocked};
pub use self::brute_force::{BLOCK, BruteForce};
pub(crate) use self::rate::network;
pub use self::rate::{ADDRESSES_MAX, ATTEMPT_EVERY, ATTEMPTS_MAX, Rates};
pub use self::window::{FAILURES, KEPT_MAX, WINDOW};
