//! The real command, from outside.

#[cfg(feature = "distributed")]
mod distributed;
mod kill;
mod load;
mod replay;
mod town;
