//! The contract suite on the distributed engines, against real servers.
//!
//! `ENSUE_SERVICES` names a JSON file with the servers, as `cargo xtask services status --json`
//! prints it; `cargo xtask test` starts them. Without it the tests say loudly that they were
//! skipped, and under CI they fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::time::Duration;

use ensue::engine::{SharedEngine, connect_with};
use ensue::error::OpenError;
use ensue::{Clock, Error, Result};
use ensue_conformance::{Storage, Subject, Terms};
use futures_util::future::BoxFuture;
use servers::Running;
use tempfile::TempDir;

/// A server of `ENSUE_SERVICES`.
#[derive(Debug)]
struct Server {
    name: &'static str,
    url: String,
}

impl Server {
    /// The server of this name; `None` when it does not run, which is printed.
    fn find(name: &'static str) -> Option<Self> {
        let url = Running::find(name)?.url;
        Some(Self { name, url })
    }
}

impl Subject for Server {
    fn name(&self) -> &str {
        self.name
    }

    fn storage(&self) -> BoxFuture<'_, Result<Box<dyn Storage>>> {
        Box::pin(async {
            let namespace = Namespace {
                url: self.url.clone(),
                name: format!("contract_{:016x}", fastrand::u64(..)),
                copies: tempfile::tempdir().unwrap(),
            };
            Ok(Box::new(namespace) as Box<dyn Storage>)
        })
    }

    fn terms(&self) -> Terms {
        let mut terms = Terms::default();
        terms.check = Duration::from_secs(1_200);
        terms
    }
}

/// A log on a server, and the directory with the copies of its processes.
#[derive(Debug)]
struct Namespace {
    url: String,
    name: String,
    copies: TempDir,
}

impl Storage for Namespace {
    fn open(&self, clock: Clock) -> BoxFuture<'_, Result<SharedEngine>> {
        Box::pin(async move {
            let mut number = 0;
            loop {
                let copy = self.copies.path().join(number.to_string());
                // The lease is longer than a busy machine keeps a process from running.
                let url = format!(
                    "{}?namespace={}&lease=5s&connect_timeout=10m&replica={}",
                    self.url,
                    self.name,
                    copy.display()
                );
                match connect_with(&url, clock.clone()).await {
                    // Another engine of this test has it.
                    Err(Error::Open(OpenError::Locked { .. })) => number += 1,
                    outcome => return outcome,
                }
            }
        })
    }
}

/// All checks of the suite on one server.
macro_rules! on {
    ($module:ident) => {
        mod $module {
            use ensue_conformance::{Failure, Outcome, verify};

            fn check(name: &str) -> Result<(), Failure> {
                let Some(server) = super::Server::find(stringify!($module)) else {
                    return Ok(());
                };
                match verify(&server, name)? {
                    Outcome::NotPromised(need) => panic!("not promised: {need}"),
                    _ => Ok(()),
                }
            }

            ensue_conformance::contract_tests!(each check);
        }
    };
}

#[cfg(feature = "kafka")]
on!(kafka);
#[cfg(feature = "nats")]
on!(nats);
#[cfg(feature = "postgres")]
on!(postgres);
#[cfg(feature = "rabbitmq")]
on!(rabbitmq);
#[cfg(feature = "redis")]
on!(redis);
