//! The commands, one file each: its arguments, its help and what it does, side by side.

pub(crate) mod audit;
pub(crate) mod cesql;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod dead;
pub(crate) mod delete;
pub(crate) mod describe;
pub(crate) mod doctor;
pub(crate) mod engines;
pub(crate) mod groups;
pub(crate) mod migrate;
pub(crate) mod probe;
#[cfg(feature = "sql")]
pub(crate) mod projection;
pub(crate) mod publish;
pub(crate) mod reset;
pub(crate) mod saga;
pub(crate) mod salvage;
pub(crate) mod schedule;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod tail;
pub(crate) mod token;
pub(crate) mod topics;

mod confirm;
mod group_rows;
