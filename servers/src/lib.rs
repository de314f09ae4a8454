//! Real brokers and databases for tests: found, installed, built or fetched, started, killed and ended.
//!
//! [`Launcher`] is `cargo xtask services`; [`Running`] is what a test knows of a server that was started,
//! by it or by hand.

#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    reason = "ports are looked for, and servers are asked whether they answer"
)]

mod catalog;
mod etcd;
mod kafka;
mod launch;
mod launcher;
mod lock;
mod mariadb;
mod maven;
mod memcached;
mod nacos;
mod nats;
mod package;
mod place;
mod port;
mod postgres;
mod probe;
mod process;
mod program;
mod rabbitmq;
mod redis;
mod restate;
mod running;
mod say;
mod secret;
mod server;
mod state;
mod table;
mod tail;
mod umadb;
mod zookeeper;

pub use self::launcher::{Launcher, TestServers, names};
pub use self::running::Running;
