//! Why a cache has no answer.

use std::sync::Arc;
use std::time::Duration;

use ensue_core::engine::Position;

/// Any error of a loader.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a cache has no answer, or has not taken what it was told.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The loader has failed. Nothing is kept, and the next call loads again.
    #[error("the value of `{key}` could not be loaded: {reason}")]
    Load {
        /// The key.
        key: String,
        /// The loader's error, which all who waited for it share.
        reason: Arc<BoxError>,
    },
    /// The loader has panicked, or the runtime has ended.
    #[error("what loads the value of `{key}` ended without an answer; see its panic")]
    LoaderEnded {
        /// The key.
        key: String,
    },
    /// The loader took too long, and was dropped.
    #[error(
        "the value of `{key}` was not loaded within {limit:?}; make it faster, or set `load_timeout`"
    )]
    LoadTimeout {
        /// The key.
        key: String,
        /// How long it may take.
        limit: Duration,
    },
    /// What is loaded from has not got as far as was asked for.
    #[error(
        "what `{key}` is loaded from is at the position {found}, and was asked for {wanted}: wait until it has \
         handled that event"
    )]
    Behind {
        /// The key.
        key: String,
        /// How far it is.
        found: Position,
        /// How far it was to be.
        wanted: Position,
    },
    /// A key cannot be like this.
    #[error("a key of a cache has 1 to {max} bytes; this one has {bytes}")]
    Key {
        /// Its length in bytes.
        bytes: usize,
        /// The largest allowed.
        max: usize,
    },
    /// The store did not take what it was told: it may still have what is outdated. Tell it again, as a handler
    /// does that is tried again.
    #[error(transparent)]
    Store(Arc<ensue_core::error::Error>),
}

impl From<ensue_core::error::Error> for CacheError {
    fn from(error: ensue_core::error::Error) -> Self {
        Self::Store(Arc::new(error))
    }
}
