//! One process's view of a group: which events are read ahead, who gets the next one, what is out and
//! what came back. Nothing here waits or writes.

mod aside;
mod aside_in_hands;
mod aside_index;
mod commit_accounting;
mod crash_guard;
pub(crate) mod events_read;
pub(crate) mod filter;
pub(crate) mod group_session;
mod in_flight;
pub(crate) mod key_hash;
mod key_queues;
mod key_slots;
pub(crate) mod limits;
pub(crate) mod local_member;
pub(crate) mod next_step;
pub(crate) mod pages;
mod positions_by_key;
pub(crate) mod read_ahead;
mod ready_event;
mod slot_ownership;
mod take_aside;
mod take_backlog;
mod take_ready;
pub(crate) mod taking;
pub(crate) mod wake;
mod window;
