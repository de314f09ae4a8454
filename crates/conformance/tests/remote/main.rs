//! The contract suite on the engine that another process serves.
//!
//! Once with a server that lives through every crash of its clients, once with a server that crashes with
//! them, and once over a network that cuts and delays connections: some checks, and all of them with
//! `ENSUE_CUT=all`. Where a crash kills the server's process: `tests/killed.rs`.
#![allow(
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod unreliable;

use std::net::SocketAddr;
use std::path::Path;

use ensue::engine::{Member, SharedEngine, connect_with};
use ensue::{Clock, Result};
use ensue_conformance::{Storage, Subject, Terms};
use ensue_server::{Running, Server};
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use tokio::sync::Mutex;

use self::unreliable::Network;

/// How long a member outlives its connection: hardly longer than a busy machine keeps a process waiting.
const LEASE: &str = "1s";
/// How long it does where connections are cut all the time: it has to come back meanwhile.
const LEASE_OF_CUT: &str = "10s";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remote {
    /// A crash is one of the clients alone.
    ClientsCrash,
    /// A crash is one of the server, too.
    ServerCrashes,
    /// Connections are cut and delayed.
    ConnectionsCut,
}

impl Subject for Remote {
    fn name(&self) -> &str {
        "remote"
    }

    fn storage(&self) -> BoxFuture<'_, Result<Box<dyn Storage>>> {
        Box::pin(async {
            let site = Site {
                how: *self,
                served: Mutex::new(Served {
                    directory: tempfile::tempdir().unwrap(),
                    running: None,
                    network: None,
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
    how: Remote,
    served: Mutex<Served>,
}

#[derive(Debug)]
struct Served {
    directory: TempDir,
    running: Option<(Running, SharedEngine)>,
    network: Option<Network>,
}

impl Served {
    async fn start(&mut self, clock: Clock) -> Result<SocketAddr> {
        if self.running.is_none() {
            let url = format!("embedded:{}", self.directory.path().join("log").display());
            let engine = connect_with(&url, clock).await?;
            let server = Server::new(engine.clone()).listen("127.0.0.1:0").unwrap();
            self.running = Some((server.start().await.unwrap(), engine));
        }
        let (running, _) = self.running.as_ref().unwrap();
        Ok(running.address())
    }

    /// The server, by a network that cuts connections.
    async fn start_behind_network(&mut self, clock: Clock) -> Result<SocketAddr> {
        let server = self.start(clock).await?;
        if let Some(network) = &self.network {
            return Ok(network.address());
        }
        let seed = std::env::var("ENSUE_CUT_SEED").ok();
        let seed = seed.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
        println!("ENSUE_CUT_SEED={seed}");
        let network = Network::to(server, seed).await;
        Ok(self.network.insert(network).address())
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
            let mut served = self.served.lock().await;
            let (address, lease) = match self.how {
                Remote::ConnectionsCut => {
                    let address = served.start_behind_network(clock.clone()).await?;
                    (address, LEASE_OF_CUT)
                }
                _ => (served.start(clock.clone()).await?, LEASE),
            };
            drop(served);
            let url = format!("ensue://{address}?lease={lease}&connect_timeout=10m");
            connect_with(&url, clock).await
        })
    }

    fn crash(
        &self,
        engine: SharedEngine,
        members: Vec<Box<dyn Member>>,
    ) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if self.how == Remote::ServerCrashes {
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
    ensue_conformance::contract_tests!(super::Remote::ClientsCrash);
}

mod server_and_clients_crash {
    ensue_conformance::contract_tests!(super::Remote::ServerCrashes);
}

mod connections_are_cut {
    use ensue_conformance::{Failure, verify};

    /// What is tried unless `ENSUE_CUT=all`: of each way to call a server, what notices most.
    const SOME: [&str; 14] = [
        "append_answers_each_event_in_order",
        "append_in_parallel_keeps_every_event",
        "append_of_the_largest_payload_is_whole_or_refused",
        "dedup_holds_between_concurrent_publishers",
        "order_survives_retries",
        "groups_share_the_events",
        "commit_has_settlement_effects_and_state",
        "retry_shares_a_commit_with_other_outcomes",
        "redrive_hands_back_in_order",
        "redrive_and_discard_take_what_the_filter_says",
        "storm_of_failures_leaves_every_event_settled_once",
        "reset_moves_a_group_anywhere",
        "schedule_can_be_cancelled",
        "read_goes_page_by_page",
    ];

    fn check(name: &str) -> Result<(), Failure> {
        let is_all = std::env::var("ENSUE_CUT").is_ok_and(|which| which == "all");
        if is_all || SOME.contains(&name) {
            verify(&super::Remote::ConnectionsCut, name)?;
        }
        Ok(())
    }

    ensue_conformance::contract_tests!(each check);

    #[test]
    fn what_is_tried_exists() {
        let checks = ensue_conformance::checks();
        for name in SOME {
            assert!(checks.iter().any(|check| check.name == name), "{name}");
        }
    }
}

#[tokio::test]
async fn what_passes_a_network_that_cuts_has_its_first_receipts() {
    const CUTS: usize = 10;
    const APPENDS_MAX: usize = 10_000;
    let site = Site {
        how: Remote::ConnectionsCut,
        served: Mutex::new(Served {
            directory: tempfile::tempdir().unwrap(),
            running: None,
            network: None,
        }),
    };
    let engine = site.open(Clock::system()).await.unwrap();
    let served = site.served.lock().await;
    let network = served.network.as_ref().unwrap();
    let mut appends = 0;
    while network.cuts() < CUTS && appends < APPENDS_MAX {
        appends += 1;
        let event = ensue::Envelope::builder("orders", "t").key(appends.to_string());
        let event = event.payload(ensue::Codec::Json, b"{}".to_vec());
        let appended = engine.append(vec![event.build().unwrap().into()]).await;
        assert!(!appended.unwrap()[0].is_duplicate, "it was sent twice");
    }
    let cuts = network.cuts();
    assert!(cuts >= CUTS, "{cuts} cuts: the network does not cut");
}
