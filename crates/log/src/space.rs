//! Space for segments that are not written yet.

use crate::error::{Error, Result};
use crate::storage::{self, Storage, uninterrupted};

/// How the space of a segment is made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// Zeroes are written: a sync then writes nothing but the frame.
    Written,
    /// The file system sets it aside.
    Reserved,
    /// The file grows as it is written.
    Growing,
}

/// A new segment file of `bytes` zeroes, or one that grows.
pub(crate) fn create(storage: &dyn Storage, name: &str, bytes: u64, space: Space) -> Result<()> {
    let make = || {
        let file = uninterrupted(|| storage.create(name))?;
        match space {
            Space::Growing => return Ok(()),
            Space::Written => uninterrupted(|| file.preallocate(bytes))?,
            Space::Reserved => uninterrupted(|| file.reserve(bytes))?,
        }
        storage::sync(&*file)
    };
    make().map_err(|error| {
        // Give the space back; the error that matters is the first.
        let _ = storage::remove(storage, name);
        Error::io("preallocate", storage.describe(name))(error)
    })
}
