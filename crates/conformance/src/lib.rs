//! The contract suite: what every engine passes, run unchanged against each of them.
//!
//! The author of an engine implements [`Subject`] (how to get an empty storage) and [`Storage`]
//! (how to open an engine on it, and how to make it crash):
//!
//! ```
//! use ensue::engine::{SharedEngine, connect_with};
//! use ensue::{Clock, Result};
//! use ensue_conformance::{BoxFuture, Storage, Subject};
//!
//! #[derive(Debug)]
//! struct Mine; // a directory, or a database of its own on a server
//!
//! impl Subject for Mine {
//!     fn name(&self) -> &str {
//!         "mine"
//!     }
//!
//!     fn storage(&self) -> BoxFuture<'_, Result<Box<dyn Storage>>> {
//!         Box::pin(async { Ok(Box::new(Mine) as Box<dyn Storage>) })
//!     }
//! }
//!
//! impl Storage for Mine {
//!     fn open(&self, clock: Clock) -> BoxFuture<'_, Result<SharedEngine>> {
//!         Box::pin(connect_with("memory:", clock)) // your engine, as an `Arc<dyn Driver>`
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let report = ensue_conformance::run(&Mine, "append_positions").await;
//! assert!(report.is_kept(), "{report}");
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [`run`] gives a [`Report`]; in an integration test, one line makes a `#[test]` of each check, so that
//! they run in parallel and can be named (`cargo test --test contract -- order`):
//!
//! ```
//! # use ensue_conformance::{BoxFuture, Storage, Subject};
//! # #[derive(Debug)]
//! # struct Mine;
//! # impl Subject for Mine {
//! #     fn name(&self) -> &str { "mine" }
//! #     fn storage(&self) -> BoxFuture<'_, ensue::Result<Box<dyn Storage>>> { unreachable!() }
//! # }
//! mod contract {
//!     ensue_conformance::contract_tests!(super::Mine);
//! }
//! ```
//!
//! Where to begin: [`Subject::owns_time`] returns `false` for an engine with a clock of its own, such as a
//! server's; [`Terms`] make the suite shorter while the engine grows; an engine whose
//! [`Guarantees`] promise little is asked for little.
//!
//! A check that needs a promise which the engine's [`Guarantees`] do not give is reported as
//! [`Outcome::NotPromised`], never passed over in silence. A promise that is given and not kept is
//! a [`Failure`]; it names the point of the contract that broke.
//!
//! | point | what | module |
//! | --- | --- | --- |
//! | 1 | append: durable, atomic, in order, conditional, within limits | `append` |
//! | 2 | dedup | `dedup` |
//! | 3 | order per topic and key | `order`, `storm` |
//! | 4 | groups | `groups` |
//! | 5 | commit | `commit` |
//! | 6 | failure: retries, dead letters, parking, crashes | `retries`, `dead`, `filters`, `storm` |
//! | 7 | start and reset | `start`, `replay` |
//! | 8 | schedule | `schedule` |
//! | 9 | request and reply | `requests` |
//! | 10 | read | `read` |
//! | 11 | patterns and filters | `patterns` |
//! | 12 | bounds | `bounds` |
//! | 13 | status | `status` |
//!
//! The checks assume nothing that the contract does not say: positions may have gaps, a member may
//! get one event of a key at a time or many, a group may take a while to notice a death.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod append;
mod bounds;
#[doc(hidden)]
pub mod broken;
mod commit;
mod crew;
mod dead;
mod dedup;
mod filters;
mod flaw;
mod groups;
mod hand;
mod lab;
mod labels;
mod ledger;
mod order;
mod patterns;
mod read;
mod replay;
mod report;
mod requests;
mod retries;
mod schedule;
mod start;
mod status;
mod storm;
mod table;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use serde::Serialize;

use self::flaw::{Flaw, Verdict};
use self::lab::Lab;
use ensue_core::engine::{Guarantee, Guarantees, Member, SharedEngine};
use ensue_core::error::Result;
use ensue_core::time::Clock;

pub use futures_util::future::BoxFuture;

pub use self::report::{Failure, Outcome, Report, Row};
pub use self::table::checks;

/// What the suite takes: an engine's author says how to get one.
pub trait Subject: fmt::Debug + Send + Sync {
    /// What the report calls it.
    fn name(&self) -> &str;

    /// A new, empty storage. Storages may share a server: every check uses names of its own.
    fn storage(&self) -> BoxFuture<'_, Result<Box<dyn Storage>>>;

    /// Whether the engine goes by the clock that it is given, so that the suite can own the time.
    /// Without this the suite waits, for short times.
    fn owns_time(&self) -> bool {
        true
    }

    /// How long the suite waits, and how much it does.
    fn terms(&self) -> Terms {
        Terms::default()
    }
}

/// Where one engine's log lies, and outlives the engine if the engine can.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Opens an engine on the storage, which may hold what an earlier engine left. Called again
    /// while the first engine lives only if the engine's guarantees say `multi_process`.
    fn open(&self, clock: Clock) -> BoxFuture<'_, Result<SharedEngine>>;

    /// Ends `engine`, with what members it has, as a crash would: without closing it. That it says
    /// nothing more and is dropped is the least; copying the storage while the engine lives, or killing
    /// a process, comes closer to a real crash.
    fn crash(
        &self,
        engine: SharedEngine,
        members: Vec<Box<dyn Member>>,
    ) -> BoxFuture<'_, Result<()>> {
        engine.abandon();
        drop((engine, members));
        Box::pin(std::future::ready(Ok(())))
    }
}

/// How long the suite waits, and how much it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// What does not arrive within this time does not arrive: long enough for the busiest machine.
    pub arrive: Duration,
    /// Where nothing arrives for this time, nothing will.
    pub quiet: Duration,
    /// How far in the future retries and schedules lie where the suite cannot move the clock; a
    /// multiple of `quiet`.
    pub delay: Duration,
    /// How many events a large backlog has.
    pub backlog: usize,
    /// How many events a storm has.
    pub storm: usize,
    /// What the random workloads grow from; the same seed gives the same choices.
    pub seed: u64,
    /// A check that is not done by then hangs.
    pub check: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            arrive: Duration::from_secs(120),
            quiet: Duration::from_millis(150),
            delay: Duration::from_millis(1_500),
            backlog: 20_000,
            storm: 2_000,
            seed: fastrand::u64(..),
            check: Duration::from_secs(900),
        }
    }
}

/// What a check takes for granted, and an engine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Need {
    /// The log outlives its process.
    Restart,
    /// A promise that handlers may need, too.
    Guarantee(Guarantee),
}

impl Need {
    fn is_met_by(self, guarantees: &Guarantees) -> bool {
        match self {
            Self::Restart => guarantees.survives_restart,
            Self::Guarantee(guarantee) => guarantees.gives(guarantee),
        }
    }

    /// The need in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Restart => "a log that outlives its process",
            Self::Guarantee(guarantee) => guarantee.describe(),
        }
    }
}

type Run = for<'a> fn(&'a mut Lab) -> BoxFuture<'a, Verdict>;

/// One check of the suite.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Check {
    /// Its name, a sentence.
    pub name: &'static str,
    /// The point of the contract that it proves, 1 to 13.
    pub point: u8,
    /// What it takes for granted.
    pub needs: &'static [Need],
    run: Run,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (point {})", self.name, self.point)
    }
}

impl Check {
    /// Runs this check on a new storage of `subject`.
    pub async fn run(&self, subject: &dyn Subject) -> Outcome {
        let limit = subject.terms().check;
        let run = AssertUnwindSafe(self.run_unguarded(subject)).catch_unwind();
        let result = match tokio::time::timeout(limit, run).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Flaw::new("no panic", panic_text(&*panic))),
            Err(_) => Err(Flaw::new(
                format_args!("the check to be done within {} s", limit.as_secs()),
                "it hangs",
            )),
        };
        match result {
            Ok(outcome) => outcome,
            Err(flaw) => Outcome::Failed(Failure::new(self, &flaw)),
        }
    }

    async fn run_unguarded(&self, subject: &dyn Subject) -> Verdict<Outcome> {
        let mut lab = Lab::new(subject).await?;
        let guarantees = *lab.engine()?.guarantees();
        if let Some(need) = self.needs.iter().find(|need| !need.is_met_by(&guarantees)) {
            return Ok(Outcome::NotPromised(need.describe()));
        }
        let verdict = (self.run)(&mut lab).await;
        // A close that hangs or fails after a flaw would only hide it.
        verdict?;
        lab.finish().await?;
        Ok(Outcome::Passed)
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a panic: {}", text.unwrap_or_default())
}

/// Runs every check whose name contains `filter` (`""` is all of them), one after the other.
pub async fn run(subject: &dyn Subject, filter: &str) -> Report {
    let mut report = Report::new(subject.name());
    for check in checks().iter().filter(|check| check.name.contains(filter)) {
        report.push(check, check.run(subject).await);
    }
    report
}

/// Runs the check of this name on a runtime of its own; for [`contract_tests!`].
///
/// # Errors
/// The check's [`Failure`].
pub fn verify(subject: &dyn Subject, name: &str) -> Result<Outcome, Failure> {
    let Some(check) = checks().iter().find(|check| check.name == name) else {
        return Err(Failure::unknown(name));
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(check, &Flaw::new("a runtime", error)))?;
    match runtime.block_on(check.run(subject)) {
        Outcome::Failed(failure) => Err(failure),
        outcome => Ok(outcome),
    }
}
