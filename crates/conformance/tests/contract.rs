//! The contract suite on the engines of this crate, and on engines that break it.
//!
//! One test per check and engine: `cargo test -p ensue-conformance --test contract`.
//! `ENSUE_SEED` repeats the random choices of a run, `ENSUE_BACKLOG` and `ENSUE_STORM` make it as
//! long as one likes.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ensue::engine::{Member, SharedEngine, connect_with};
use ensue::error::EngineError;
use ensue::{Clock, Error, Result};
use ensue_conformance::{Storage, Subject, Terms};
use futures_util::future::BoxFuture;
use tempfile::TempDir;

fn terms() -> Terms {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let mut terms = Terms::default();
    terms.seed = number("ENSUE_SEED").unwrap_or(terms.seed);
    terms.backlog = number("ENSUE_BACKLOG").map_or(terms.backlog, |n| n as usize);
    terms.storm = number("ENSUE_STORM").map_or(terms.storm, |n| n as usize);
    terms
}

/// `memory:`, which is gone with its process.
#[derive(Debug)]
struct Memory;

impl Subject for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn storage(&self) -> BoxFuture<'_, Result<Box<dyn Storage>>> {
        Box::pin(async { Ok(Box::new(Nowhere) as Box<dyn Storage>) })
    }

    fn terms(&self) -> Terms {
        terms()
    }
}

/// `memory:` by the system's clock, as a broker would have it: the suite has to wait.
#[derive(Debug)]
struct MemoryInRealTime;

impl Subject for MemoryInRealTime {
    fn name(&self) -> &str {
        "memory in real time"
    }

    fn storage(&self) -> BoxFuture<'_, Result<Box<dyn Storage>>> {
        Memory.storage()
    }

    fn owns_time(&self) -> bool {
        false
    }

    fn terms(&self) -> Terms {
        terms()
    }
}

#[derive(Debug)]
struct Nowhere;

impl Storage for Nowhere {
    fn open(&self, clock: Clock) -> BoxFuture<'_, Result<SharedEngine>> {
        Box::pin(connect_with("memory:", clock))
    }
}

/// `embedded:`, in a directory that goes with the test.
#[derive(Debug)]
struct Embedded {
    options: &'static str,
}

impl Subject for Embedded {
    fn name(&self) -> &str {
        "embedded"
    }

    fn storage(&self) -> BoxFuture<'_, Result<Box<dyn Storage>>> {
        Box::pin(async {
            let directory = Directory {
                path: Mutex::new(tempfile::tempdir().map_err(io)?),
                options: self.options,
            };
            Ok(Box::new(directory) as Box<dyn Storage>)
        })
    }

    fn terms(&self) -> Terms {
        terms()
    }
}

#[derive(Debug)]
struct Directory {
    path: Mutex<TempDir>,
    options: &'static str,
}

impl Storage for Directory {
    fn open(&self, clock: Clock) -> BoxFuture<'_, Result<SharedEngine>> {
        Box::pin(async move {
            let path = lock(&self.path).path().join("log");
            let url = format!("embedded:{}{}", path.display(), self.options);
            connect_with(&url, clock).await
        })
    }

    /// What `kill -9` leaves is what the files hold while the engine lives: copies them, goes on
    /// with the copy, and drops the engine afterwards, so that nothing of its end can be seen.
    fn crash(
        &self,
        engine: SharedEngine,
        members: Vec<Box<dyn Member>>,
    ) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut path = lock(&self.path);
            let mut attempts = 0;
            let left = loop {
                let left = tempfile::tempdir().map_err(io)?;
                match copy(&path.path().join("log"), &left.path().join("log")) {
                    Ok(()) => break left,
                    // The engine prepares its next segment meanwhile: a file may have moved.
                    Err(_) if attempts < 10 => attempts += 1,
                    Err(error) => return Err(io(error)),
                }
            };
            drop((engine, members));
            *path = left;
            Ok(())
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies a directory; what is zero stays a hole.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let copied = std::process::Command::new("cp")
        .args(["--recursive", "--sparse=always"])
        .args([from, to])
        .status()?;
    if copied.success() {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("cp: {copied}")))
    }
}

fn io(source: std::io::Error) -> Error {
    Error::Engine(EngineError::Io {
        what: "a directory for the test".into(),
        reason: source,
    })
}

mod memory {
    ensue_conformance::contract_tests!(super::Memory);
}

mod memory_in_real_time {
    ensue_conformance::contract_tests!(super::MemoryInRealTime);
}

mod embedded {
    ensue_conformance::contract_tests!(super::Embedded { options: "" });
}

/// Small segments, and keys whose backlogs are in the log from their third event on.
mod embedded_with_little_room {
    ensue_conformance::contract_tests!(super::Embedded {
        options: "?segment_bytes=1048576&key_events_max=2"
    });
}

/// An engine that breaks a promise turns the suite red, at the point that it breaks.
mod broken {
    use ensue_conformance::broken::{Broken, Fault};
    use ensue_conformance::{Outcome, checks};
    use futures_util::future::join_all;

    use super::Memory;

    async fn breaks(fault: Fault, point: u8) {
        let subject = Broken::new(Memory, fault);
        let of_point = checks().iter().filter(|check| check.point == point);
        let outcomes = join_all(of_point.map(|check| check.run(&subject))).await;
        let failures: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Failed(failure) => Some(failure),
                _ => None,
            })
            .collect();
        assert!(!failures.is_empty(), "{fault:?} passes point {point}");
        assert!(failures.iter().all(|failure| failure.point == point));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_early_acknowledgement_breaks_point_1() {
        breaks(Fault::AcknowledgesEarly, 1).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn forgetting_ids_breaks_point_2() {
        breaks(Fault::Forgetful, 2).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn reordering_breaks_point_3() {
        breaks(Fault::Reordering, 3).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn lost_effects_break_point_5() {
        breaks(Fault::LosesEffects, 5).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn lost_settlements_break_point_5() {
        breaks(Fault::LosesSettlements, 5).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn effects_of_the_fenced_break_point_5() {
        breaks(Fault::EffectsOfTheFenced, 5).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn unparking_breaks_point_6() {
        breaks(Fault::Unparking, 6).await;
    }
}

/// The suite names and reports what it does.
mod report {
    use std::collections::HashSet;

    use ensue_conformance::{checks, run};

    use super::Memory;

    #[test]
    fn every_point_has_checks_and_every_check_a_name() {
        let names: HashSet<_> = checks().iter().map(|check| check.name).collect();
        assert_eq!(names.len(), checks().len());
        for point in 1..=13 {
            assert!(checks().iter().any(|check| check.point == point), "{point}");
        }
    }

    #[tokio::test]
    async fn a_run_without_a_check_proves_nothing() {
        let report = run(&Memory, "no_check_has_this_name").await;
        assert!(!report.is_kept(), "{report}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_not_promised_is_said() {
        let report = run(&Memory, "append_survives_a_clean_restart").await;
        let text = report.to_string();
        assert!(text.contains("not promised: a log that outlives"), "{text}");
        assert!(report.is_kept());
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.contains("not_promised"), "{json}");
    }
}
