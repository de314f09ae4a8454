//! The contract suite on the engine that another process serves.
//!
//! Once with a server that lives through every crash of its clients, and once with a server that crashes with
//! them.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::path::Path;

use ensue::engine::{Member, SharedEngine, connect_with};
use ensue::{Clock, Result};
use ensue_conformance::{Storage, Subject, Terms};
use ensue_server::{Running, Server};
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use tokio::sync::Mutex;

/// How long a member outlives its connection: hardly longer than a busy machine keeps a process waiting.
const LEASE: &str = "1s";

#[derive(Debug)]
struct Remote {
    /// A crash is one of the server, too.
    server_crashes: bool,
}

impl Subject for Remote {
    fn name(&self) -> &str {
        "remote"
    }

    fn storage(&self) -> BoxFuture<'_, Result<Box<dyn Storage>>> {
        Box::pin(async {
            let site = Site {
                server_crashes: self.server_crashes,
                served: Mutex::new(Served {
                    directory: tempfile::tempdir().unwrap(),
                    running: None,
                }),
            };
            Ok(Box::new(site) as Box<dyn Storage>)
        })
    }

    fn terms(&self) -> Terms {
        let mut terms = Terms::default();
        terms.backlog = 10_000;
        terms
    }
}

/// A directory, and the server of it.
#[derive(Debug)]
struct Site {
    server_crashes: bool,
    served: Mutex<Served>,
}

#[derive(Debug)]
struct Served {
    directory: TempDir,
    running: Option<(Running, SharedEngine)>,
}

impl Served {
    async fn start(&mut self, clock: Clock) -> Result<String> {
        if self.running.is_none() {
            let url = format!("embedded:{}", self.directory.path().join("log").display());
            let engine = connect_with(&url, clock).await?;
            let server = Server::new(engine.clone()).listen("127.0.0.1:0").unwrap();
            self.running = Some((server.start().await.unwrap(), engine));
        }
        let (running, _) = self.running.as_ref().unwrap();
        Ok(running.address().to_string())
    }

    /// What `kill -9` leaves is what the files hold.
    fn crash(&mut self) {
        let Some((running, engine)) = self.running.take() else {
            return;
        };
        let left = tempfile::tempdir().unwrap();
        let (from, to) = (self.directory.path().join("log"), left.path().join("log"));
        // The engine prepares its next segment meanwhile: a file may have moved.
        let copied = (0..10).any(|_| copy(&from, &to));
        assert!(copied, "the log cannot be copied");
        engine.abandon();
        drop((running, engine));
        self.directory = left;
    }
}

impl Storage for Site {
    fn open(&self, clock: Clock) -> BoxFuture<'_, Result<SharedEngine>> {
        Box::pin(async move {
            let address = self.served.lock().await.start(clock.clone()).await?;
            connect_with(&format!("ensue://{address}?lease={LEASE}"), clock).await
        })
    }

    fn crash(
        &self,
        engine: SharedEngine,
        members: Vec<Box<dyn Member>>,
    ) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if self.server_crashes {
                self.served.lock().await.crash();
            }
            engine.abandon();
            drop((engine, members));
            Ok(())
        })
    }
}

fn copy(from: &Path, to: &Path) -> bool {
    let _ = std::fs::remove_dir_all(to);
    let mut copying = std::process::Command::new("cp");
    copying
        .args(["--recursive", "--sparse=always"])
        .args([from, to]);
    copying.status().unwrap().success()
}

mod clients_crash {
    ensue_conformance::contract_tests!(super::Remote {
        server_crashes: false
    });
}

mod server_and_clients_crash {
    ensue_conformance::contract_tests!(super::Remote {
        server_crashes: true
    });
}
