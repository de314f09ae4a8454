//! One process's view of a group: which events are read ahead, who gets the next one, what is out and
//! what came back. Nothing here waits or writes.

pub(crate) mod aside;
pub(crate) mod commit_accounting;
pub(crate) mod crash_guard;
pub(crate) mod fenced_deliveries;
pub(crate) mod filter;
pub(crate) mod group_session;
pub(crate) mod key_slots;
pub(crate) mod next_step;
pub(crate) mod page;
pub(crate) mod read_ahead;
pub(crate) mod ready;
pub(crate) mod slot_transfer;
pub(crate) mod turns;
pub(crate) mod window;
