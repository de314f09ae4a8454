//! The contract of [`ensue_core::engine`] kept over a log: in a directory, in memory, or on a server that
//! several processes share.
//!
//! Programs depend on [`ensue`](https://docs.rs/ensue). What is public here is for the crates beneath it:
//! a broker implements [`shared_log::SharedLog`] and has every promise.
//!
//! | room | holds | knows |
//! | --- | --- | --- |
//! | `ids`, `log_position` | the numbers that mean something; positions of the log | nothing |
//! | `model` | the fold of the records | no task, no clock |
//! | `delivery` | one process's view of a group | the model |
//! | `runtime` | locks, tasks, the log; the engine itself | both |
//! | [`replica`] | the same over a [`shared_log`] | the runtime |
//! | [`migrate`] | a whole log to another engine | the runtime |

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod delivery;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod ids;
mod log_error;
mod log_position;
pub mod migrate;
mod model;
mod pending_write;
pub mod replica;
mod runtime;
pub mod shared_log;

pub(crate) use ensue_core::{background, engine, error, event, time, topic};
#[doc(hidden)]
pub use ensue_log::storage;
pub use ensue_log::{Loss, Progress, Report, Salvaged};

#[cfg(test)]
pub(crate) use crate::runtime::embedded::tests::{connect, connect_reader, connect_with};
pub use crate::runtime::embedded::{
    Embedded, check, open_directory, open_memory, open_reader, salvage,
};
pub use crate::runtime::examine::examine;
pub use crate::runtime::settings::Settings;

/// What [`check`] found wrong: `Corrupt` names file and offset.
pub use ensue_log::Error as Damage;
