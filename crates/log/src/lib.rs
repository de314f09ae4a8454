//! An embedded, durable, totally ordered log of records: append, read, recover. Bytes on disk,
//! nothing else: it knows no event, no async runtime and no serialisation format.
//!
//! # The promise
//!
//! With [`Durability::Sync`] (the default) a record that was acknowledged is on stable storage:
//! neither `kill -9` nor a power cut takes it away, on a device that honours flush. Nothing that
//! is not yet durable is ever delivered to a reader. A batch is appended whole or not at all.
//! Damage is reported with file and offset, never served and never silently cut off; the torn
//! remains of a write that was never acknowledged are removed at open, and said
//! ([`Log::recovery`]). After a failed write or sync the log is *poisoned*: it stops rather than
//! guesses.
//!
//! # Use
//!
//! ```
//! use ensue_log::{Batch, Log, Options, Position, Record, storage};
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = Log::open(Arc::new(storage::Memory::new()), Options::default())?;
//!
//! let mut batch = Batch::new();
//! batch.push(&Record { kind: 0, id: None, topic: "orders", key: b"order-1", body: b"created" })?;
//! let receipt = log.append(batch)?; // returns when durable
//! assert_eq!(receipt.first(), Position::ZERO);
//!
//! let chunk = log.view().read(Position::ZERO, 64 * 1024)?;
//! let entry = chunk.iter().next().ok_or("empty")?;
//! assert_eq!((entry.topic, entry.body), ("orders", &b"created"[..]));
//! log.close()?;
//! # Ok(()) }
//! ```
//!
//! # Where to read on
//!
//! [`Log`] appends, [`View`] reads, [`Follower`] reads from another process, [`Storage`] is the
//! only way to the disk. `docs/file-format.md` draws every byte of the files.
#![deny(missing_docs)]
#![warn(clippy::print_stdout, clippy::print_stderr)]
#![forbid(unsafe_code)]

mod batch;
mod block;
mod changes;
mod check;
mod checkpoint;
mod chunk;
mod codec;
mod commit;
mod dedup;
mod error;
mod expect;
mod files;
mod follower;
mod frame;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod hold;
mod index;
mod keeper;
mod log;
mod lost;
mod options;
mod pending;
mod portable;
mod position;
mod queue;
mod reach;
mod receipt;
mod record;
mod recover;
#[doc(hidden)]
pub mod sabotage;
mod salvage;
mod scan;
mod segment;
mod shared;
mod space;
mod status;
pub mod storage;
mod store;
mod submit;
mod sync;
mod tail;
mod tip;
mod trim;
mod trimmed;
mod view;
mod wait;
mod whole;
mod writers;

pub use batch::Batch;
pub use changes::{Changed, Room};
pub use check::{Progress, Report};
pub use chunk::{Chunk, Entry, Iter, Place};
pub use error::{Conflict, Error, Result};
pub use expect::Expect;
pub use follower::Follower;
pub use hold::Hold;
pub use log::Log;
pub use options::{Durability, Options, Retention};
pub use position::Position;
pub use receipt::{Receipt, Submitted};
pub use record::{KEY_BYTES_MAX, Record, TOPIC_BYTES_MAX};
pub use recover::Recovery;
pub use salvage::{LOST_KIND, Loss, Salvaged, salvage};
pub use scan::{AtHand, Query, Scan};
pub use status::Status;
pub use storage::Storage;
pub use submit::SubmitError;
pub use trim::Trimmed;
pub use view::{Topic, View};
