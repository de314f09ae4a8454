//! Tests of services without I/O, without waiting, and with everything that can go wrong.
//!
//! Four sizes:
//! - a handler is a method: call it;
//! - [`given`]: given earlier events, when an aggregate decides, then these follow, or a refusal;
//! - [`Scenario`]: given earlier events, when one is handled, then these follow; state included;
//! - [`TestApp`]: a whole app on the memory engine with a clock that the test owns, and
//!   [`explore`], which runs such an app again and again with a crash, a duplicate or another
//!   order at every step.

mod chaos;
mod explore;
mod given;
mod keys;
mod outcome;
mod scenario;
mod test_app;

pub use self::chaos::{Chaos, Fault};
pub use self::explore::{Exploration, TestResult, explore};
pub use self::given::{Given, Then, given};
pub use self::outcome::Outcome;
pub use self::scenario::Scenario;
pub use self::test_app::TestApp;
pub use crate::outgoing::Due;
