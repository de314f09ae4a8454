//! The real command, from outside.

#[cfg(feature = "distributed")]
mod distributed;
#[cfg(feature = "distributed")]
mod drill;
mod kill;
mod results;
mod shop;
mod times;
