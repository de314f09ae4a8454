//! A log that is the replica of a shared one: the embedded engine on several machines.
//!
//! ```text
//! append, commit, … ─> outbox ─> send ─> the shared log (NATS, Kafka, RabbitMQ, Redis, PostgreSQL)
//!                                            │
//!            other processes ────────────────┤
//!                                            v
//!  state, members <─ admit, append, apply <─ fold ─> this process's own log, on disk
//! ```
//!
//! Processes write *frames* of batches (`frame`) into one shared log and all read all of it, in
//! the same order. Each folds every frame into a log of its own, with the same code and hence the
//! same positions, duplicates, conflicts and state: a replicated state machine, as in Tango
//! (Balakrishnan et al., SOSP 2013) and Delos (OSDI 2020). What this process submits takes effect
//! when it is read back, and is acknowledged when the server has acknowledged it, too.
//!
//! So the server has to give nothing but order and durability. Dedup, conditional appends,
//! schedules, dead letters and state work as in the embedded engine, because they are the embedded
//! engine; a commit is atomic because it lies in one frame.
//!
//! # Who has a key
//!
//! A key's slot belongs to one process at a time (`slot_owners`), as the fold says; within the process
//! `key_slots` gives it to a member. A process that is silent for its lease is fenced by the
//! others (`lease`), with a record in the log: what it writes after that record is refused
//! (`fencing`), however late it wakes up. This is the fencing token of Kleppmann's "How to do
//! distributed locking", with the log's order as the token.
//!
//! A process that follows a killed one in its directory need not wait for that: it proves that the
//! other has ended (`succession`).
//!
//! # Where it stands
//!
//! Above the runtime, which knows of it only what two traits say: the `outbox` takes batches
//! (`WriteSink`), the `link` tells how the server is (`Upstream`). A `node` is an engine with its link:
//! what the tasks here work on.
//!
//! # What it costs
//!
//! Every process reads everything that is written in the namespace and keeps it on its own disk:
//! reading, replaying and querying never leave the machine, and the throughput of a namespace is
//! what one machine can take in. The copy is rebuilt from the server when it is missing, torn or of
//! another log.

mod clocks;
mod directory;
mod fold;
mod frame;
mod frame_write;
mod guard;
mod heard;
mod lease;
mod link;
mod node;
mod open;
mod options;
mod outbox;
mod retry;
mod send;
mod succession;
#[cfg(test)]
mod tests;

pub use self::clocks::examine as examine_clocks;
pub(crate) use self::link::Link;
pub use self::open::open;
pub(crate) use self::open::open_quietly;
pub use self::options::{Connector, Dial, OPTIONS};
