//! The real command, from outside.

#[cfg(feature = "distributed")]
mod distributed;
#[cfg(feature = "distributed")]
mod drill;
mod kill;
mod results;
#[cfg(feature = "distributed")]
mod server;
mod shop;
mod times;
