//! The real command, from outside.

mod kill;
mod results;
mod shop;
mod times;
