//! A cache in front of what is read often: entries carry the position of the event that they follow from, and an
//! older one never takes the place of a newer.
//!
//! The usual bug of caches: a reader loads a value, is slow, and keeps it *after* the value has changed and the
//! cache was told so; the old value then stays until its time is over. Here the change is an event, with a
//! [`Position`]: who loads says how far what it read from had got, who handles the event says
//! [`Cache::invalidate`], and the store compares.
//!
//! | store | where | entries are compared by |
//! | --- | --- | --- |
//! | `LocalStore` | this process (moka) | a lock of the key |
//! | `RedisStore` | Redis | a script |
//! | `MemcachedStore` | Memcached | `gets` and `cas`, again when another was faster |
//!
//! ```
//! use ensue_blocks::cache::{Cache, Loaded, LocalStore};
//! use ensue_core::engine::Position;
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! let profiles = Cache::builder(LocalStore::new(10_000)).build(async |user: String| {
//!     // In one transaction: how far the projection is, and its row.
//!     let (position, row) = (Position::new(7), Some(format!("the profile of {user}")));
//!     Ok(Loaded::new(position, row))
//! });
//! assert_eq!(*profiles.get("u-1").await?.unwrap(), "the profile of u-1");
//!
//! // In the handler of the event at position 8, which changes the profile:
//! profiles.invalidate("u-1", Position::new(8)).await?;
//! # Ok::<(), ensue_blocks::cache::CacheError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod away;
mod caching;
mod counts;
#[cfg(any(feature = "redis", feature = "memcached"))]
mod encoded;
mod entry;
mod error;
mod flights;
#[cfg(feature = "local")]
mod local;
#[cfg(feature = "memcached")]
mod memcached;
#[cfg(feature = "redis")]
mod redis;
mod settings;
mod store;
mod times;

pub use self::caching::{Cache, KEY_BYTES_MAX};
pub use self::counts::CacheCounts;
pub use self::entry::{Content, Entry, Loaded};
pub use self::error::{BoxError, CacheError};
#[cfg(feature = "local")]
pub use self::local::LocalStore;
#[cfg(feature = "memcached")]
pub use self::memcached::MemcachedStore;
#[cfg(feature = "redis")]
pub use self::redis::RedisStore;
pub use self::settings::CacheBuilder;
pub use self::store::CacheStore;

#[doc(no_inline)]
pub use ensue_core::engine::Position;
