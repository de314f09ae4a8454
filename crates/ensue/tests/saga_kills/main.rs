//! Sagas whose processes are killed with -9 at random instants: each ends exactly once, what was done is done or
//! undone once, in reverse, and no timeout fires after the end.
//!
//! Real processes on an embedded log, and on every server of `ENSUE_SERVICES` (a JSON file, as `cargo xtask services
//! status --json` prints it). `ENSUE_SAGA_KILLS=500` is for longer.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod app;
mod process;
mod verdict;
mod world;

use std::path::Path;
use std::time::Duration;

use servers::Running;
use tempfile::TempDir;

use self::process::Process;

/// How often processes are killed in the test of one engine, unless the environment says otherwise.
const KILLS: u64 = 12;
const KILLS_OF: &str = "ENSUE_SAGA_KILLS";

fn kills() -> u64 {
    std::env::var(KILLS_OF).map_or(KILLS, |kills| kills.parse().expect(KILLS_OF))
}

/// Kills one process after the other, of which `at_a_time` are at work; then has one do what is left.
async fn attack(url: &dyn Fn(usize) -> String, at_a_time: usize, directory: &Path) {
    let world = directory.join("world");
    let start = |slot: usize, round: u64| Process::start(&url(slot), &world, round, false);
    let mut processes: Vec<Process> = (0..at_a_time)
        .map(|slot| start(slot, slot as u64))
        .collect();
    let mut rounds = at_a_time as u64;
    for kill in 0..kills() {
        let slot = usize::try_from(kill).unwrap() % at_a_time;
        // Now and then while it opens; otherwise while it works.
        if fastrand::u8(..8) > 0 {
            processes[slot].is_ready().await;
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..400))).await;
        processes[slot].kill();
        processes[slot] = start(slot, rounds);
        rounds += 1;
    }
    processes.iter_mut().for_each(Process::kill);
    Process::start(&url(0), &world, rounds, true).ends().await;
    verdict::check(&url(0), &world, rounds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_an_embedded_log_every_process_ends_once_whenever_it_is_killed() {
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("log");
    let url = move |_| format!("embedded:{}", log.display());
    attack(&url, 1, directory.path()).await;
}

/// The same with two processes that share the work, by a server.
async fn on_a_server(name: &str) {
    let Some(service) = Running::find(name) else {
        return;
    };
    let directory = TempDir::new().unwrap();
    let copies = directory.path().join("copies");
    let url = service.namespace(&format!("saga_kills_{:016x}", fastrand::u64(..)));
    let url = move |slot: usize| {
        let copy = copies.join(slot.to_string());
        format!(
            "{url}&lease=2s&connect_timeout=10m&replica={}",
            copy.display()
        )
    };
    attack(&url, 2, directory.path()).await;
}

/// The test of one server.
macro_rules! on {
    ($module:ident) => {
        mod $module {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn every_process_ends_once_whichever_of_two_members_is_killed() {
                super::on_a_server(stringify!($module)).await;
            }
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
