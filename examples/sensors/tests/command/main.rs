//! The real command, from outside.

#[cfg(feature = "distributed")]
mod distributed;
mod hall;
mod kill;
mod made_up;
mod recorded;
