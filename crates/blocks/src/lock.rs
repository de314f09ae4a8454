//! Distributed locks, with fencing tokens and guards that check them.
//!
//! A lock on a server is a lease: it ends when its holder does not renew it, because a holder that died cannot
//! release anything. So a holder that was only *slow* (a long pause, a suspended machine, a network that was
//! cut) may go on believing that it holds what another one holds by now. No lock can prevent that; what can be
//! prevented is that it does harm. Every lock has a [`FencingToken`], larger than those of all holders before,
//! and what the lock protects refuses a write with a smaller token than it has seen. Such *guards* come along:
//!
//! | kept in | keeper | token | guard |
//! | --- | --- | --- | --- |
//! | an engine of Ensue | `LogLocks` | position in the log | `LogLocks::append` (conditional append) |
//! | PostgreSQL | `PostgresLocks` | counter in the lock's row | [`guard::CLAIM_FENCE`], `PostgresLocks::CHECK_HELD` |
//! | Redis | `RedisLocks` | `INCR` in the script that acquires | `RedisFence` (Lua) |
//! | etcd | `EtcdLocks` | revision that made the key | `EtcdLocks::put` (transaction) |
//! | ZooKeeper | `ZooKeeperLocks` | `czxid` of the node | `ZooKeeperLocks::set` (multi) |
//!
//! Without a guard a lock saves work that would be done twice; it does not keep data right.
//!
//! ```
//! use std::time::Duration;
//! use ensue_blocks::lock::{Locks, LockKeeper};
//!
//! async fn nightly(keeper: impl LockKeeper) -> Result<(), ensue_blocks::lock::LockError> {
//!     let locks = Locks::new(keeper).lease(Duration::from_secs(10));
//!     let lock = locks.acquire("nightly", Duration::from_secs(60)).await?;
//!     tokio::select! {
//!         () = write_report(lock.token().get()) => lock.release().await?,
//!         () = lock.lost() => eprintln!("another process goes on with it"),
//!     }
//!     Ok(())
//! }
//! # async fn write_report(_token: u64) {}
//! ```

mod acquiring;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
pub mod guard;
mod held;
mod keeper;
mod locks;
#[cfg(feature = "log")]
mod log;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod token;
#[cfg(feature = "zookeeper")]
mod zookeeper;

pub use self::error::LockError;
#[cfg(feature = "etcd")]
pub use self::etcd::EtcdLocks;
pub use self::held::Lock;
pub use self::keeper::{Asked, Claim, Fairness, LockGuarantees, LockKeeper, Purpose};
pub use self::locks::{LEASE_MIN, Locks, NAME_BYTES_MAX};
#[cfg(feature = "log")]
pub use self::log::LogLocks;
#[cfg(feature = "postgres")]
pub use self::postgres::PostgresLocks;
#[cfg(feature = "redis")]
pub use self::redis::{RedisFence, RedisLocks};
pub use self::token::FencingToken;
#[cfg(feature = "zookeeper")]
pub use self::zookeeper::ZooKeeperLocks;
