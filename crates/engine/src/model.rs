//! The fold: what the records of a log come to. No tasks, no clock: equal records make equal models, in
//! every process.

pub(crate) mod backlog;
pub(crate) mod change;
pub(crate) mod fencing;
pub(crate) mod group;
pub(crate) mod item;
pub(crate) mod keyed_state;
pub(crate) mod migration;
pub(crate) mod plausible;
pub(crate) mod position_set;
pub(crate) mod processes;
pub(crate) mod record;
pub(crate) mod refusal;
pub(crate) mod runs;
pub(crate) mod schedule;
pub(crate) mod set_aside;
pub(crate) mod slot_allotment;
pub(crate) mod slot_owners;
pub(crate) mod state;
pub(crate) mod topic_key;
