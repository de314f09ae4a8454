//! Who watches what is said of log-ins.

mod brute_force;
mod window;

pub use self::brute_force::{BLOCK, BruteForce};
pub use self::window::{FAILURES, KEPT_MAX, WINDOW};
