//! Indexes: of the active segment in memory, of sealed segments in files. All of it can be
//! rebuilt from the segments.

mod active;
mod sealed;
mod sections;

pub(crate) use active::{Active, GRANULE, Placed, Seed, TopicCount};
pub(crate) use sealed::{IndexFile, Sealed, index_frames};
pub(crate) use sections::Posting;
