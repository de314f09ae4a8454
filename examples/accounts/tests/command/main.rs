//! The real command, from outside.

mod replay;
