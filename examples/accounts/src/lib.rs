//! A user account system on Ensue.
//!
//! Read it in this order: [`events`] are what is said, [`security`] watches what they say of
//! log-ins, [`replay`] has it watch what was recorded elsewhere.

pub mod events;
pub mod replay;
pub mod security;

pub mod cli;
pub mod report;
