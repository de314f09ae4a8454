//! The real command, from outside.

#[cfg(feature = "distributed")]
mod distributed;
#[cfg(any(feature = "distributed", feature = "remote"))]
mod drill;
#[cfg(any(feature = "distributed", feature = "remote"))]
mod expected;
mod kill;
mod results;
#[cfg(feature = "remote")]
mod served;
mod shop;
mod times;
