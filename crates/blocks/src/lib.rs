//! Building blocks that systems on Ensue use beside its log.
//!
//! | block | what | where it is kept |
//! | --- | --- | --- |
//! | [`lock`] | one holder at a time, with a fencing token and guards that check it | an engine of Ensue, PostgreSQL, Redis, etcd, ZooKeeper |
//! | [`cache`] | what is read often, never older than what is known | this process (moka), Redis, Memcached |
//! | [`config`] | settings that are checked as a whole and followed | files, the environment, etcd, Nacos |
//! | [`election`] | something that one process does at a time | the same |
//!
//! Each block is one type that programs hold, above a trait that says what a server has to do for it. What the
//! implementations promise is not the same: docs/blocks.md has a table. A feature switches each server on.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod cache;
pub mod config;
pub mod election;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(any(feature = "etcd", feature = "nacos"))]
mod http;
pub mod lock;
#[cfg(feature = "memcached")]
mod memcached;
#[cfg(feature = "nacos")]
mod nacos;
#[cfg(feature = "zookeeper")]
mod zookeeper;
