//! Indexes: of the active segment in memory, of sealed segments in files. All of it can be
//! rebuilt from the segments.

mod active;
mod hash;
mod sealed;
mod sections;

pub(crate) use active::{Active, GRANULE, Placed, Seed, TopicCount};
pub(crate) use hash::{HashKey, KeyHash};
pub(crate) use sealed::{Sealed, index_frames};
pub(crate) use sections::Posting;
