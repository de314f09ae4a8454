//! Keys for what is personal in the events of a test.

use crate::engine::SharedEngine;
use crate::error::Result;
#[cfg(feature = "personal")]
use crate::personal::{MemoryKeys, keyed};

/// Keys in memory, with the feature `personal`; otherwise none.
#[derive(Clone, Debug, Default)]
pub(super) struct TestKeys {
    #[cfg(feature = "personal")]
    keys: MemoryKeys,
}

impl TestKeys {
    /// The engine with these keys.
    pub(super) fn of(&self, engine: SharedEngine) -> Result<SharedEngine> {
        #[cfg(feature = "personal")]
        return keyed(engine, self.keys.clone());
        #[cfg(not(feature = "personal"))]
        Ok(engine)
    }
}
