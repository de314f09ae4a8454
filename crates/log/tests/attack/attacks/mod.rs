//! The attacks, shared by the tests that expect the log to stand and by those that sabotage it
//! and expect it to fall. An attack panics when it wins.

pub(crate) mod appenders;
pub(crate) mod effort;
pub(crate) mod flips;
pub(crate) mod io;
pub(crate) mod model;
pub(crate) mod power;
pub(crate) mod retention;
pub(crate) mod script;
pub(crate) mod stale;
pub(crate) mod sync;
pub(crate) mod torn;
pub(crate) mod trace;
