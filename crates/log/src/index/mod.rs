//! Indexes: of the active segment in memory, of sealed segments in files. All of it can be
//! rebuilt from the segments.

mod active;
mod bitmap;
mod sealed;
mod sections;
mod topics;

pub(crate) use active::{Active, Placed, Seed};
pub(crate) use bitmap::Bitmap;
pub(crate) use sealed::{IndexFile, Sealed, index_frames};
pub(crate) use sections::Posting;
pub(crate) use topics::{TopicRecords, Topics};
