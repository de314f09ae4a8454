//! The real command, from outside; and what is left of users who have left.

#[cfg(feature = "distributed")]
mod distributed;
mod forgotten;
mod kill;
mod load;
mod refused;
mod replay;
mod town;
