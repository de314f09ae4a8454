//! Everything that can go wrong, at every step.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use super::chaos::Fault;
use super::test_app::TestApp;
use crate::app::App;
use crate::contained::message_of;
use crate::error::{Error, Result, TestError};

/// How many orders of arrival are tried.
const REORDERS: u64 = 8;

/// What an exploration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exploration {
    /// Appends and commits of a run in which nothing goes wrong.
    pub steps: u64,
    /// Runs, the undisturbed one included.
    pub runs: u64,
}

/// What the parts of a test give: nothing, or any error. `?` makes one of an [`Error`], of
/// `anyhow::Error`, of a `String`, and of whatever else is an error.
pub type TestResult<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Runs an app once undisturbed, then with a crash before and after every append and commit, with
/// every append doubled, and with several orders of arrival; checks each run.
///
/// `act` publishes what sets the app in motion; it is called again after a crash, so its events
/// need ids of their own ([`Outgoing::id`](crate::Outgoing::id)). Crashes strike while `act` runs and
/// until the app has settled after it: time that is to pass for schedules belongs into `act`. The clock
/// goes on where it was when `act` runs again: move it to a time ([`TestApp::START`] and
/// [`TestApp::advance_to`]), not by one. What is outside of the log, such as a file that handlers write,
/// is shared by all runs. `check` looks at a settled app, and may go on with it: nothing crashes any
/// more, while appends are still doubled and events reordered. What either returns as an error
/// ([`TestResult`]), and what an `assert!` in them says, is reported with the fault that led to it.
///
/// ```
/// use ensue::prelude::*;
/// use ensue::testing::{TestApp, explore};
/// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
/// # #[event(type = "order.created", topic = "orders", key = order_id)]
/// # struct OrderCreated { order_id: String }
/// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
/// # #[event(type = "order.paid", topic = "orders", key = order_id)]
/// # struct OrderPaid { order_id: String }
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let explored = explore(
///     |app| app.on("payments", |o: OrderCreated| async { OrderPaid { order_id: o.order_id } }),
///     async |app: &TestApp| {
///         let order = OrderCreated { order_id: "o-1".into() };
///         app.publish(Outgoing::new(order).id("o-1")).await?;
///         Ok(())
///     },
///     async |app: &TestApp| {
///         assert_eq!(app.events::<OrderPaid>().await?.len(), 1);
///         Ok(())
///     },
/// )
/// .await?;
/// assert!(explored.runs > 10);
/// # Ok::<(), ensue::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`TestError::Run`]: the first run that failed, named by its fault.
pub async fn explore(
    build: impl Fn(App) -> App + Send + Sync + 'static,
    act: impl AsyncFn(&TestApp) -> TestResult,
    check: impl AsyncFn(&TestApp) -> TestResult,
) -> Result<Exploration> {
    let build = Arc::new(build);
    let mut steps = 0;
    let mut runs = 0;
    let mut pending = vec![Fault::None];
    while let Some(fault) = pending.pop() {
        let seen = explore_one(&build, fault, &act, &check)
            .await
            .map_err(|error| {
                Error::Test(TestError::Run {
                    fault: format!("{fault:?}"),
                    good_runs: runs,
                    error,
                })
            })?;
        runs += 1;
        if fault == Fault::None {
            steps = seen;
            pending.extend(
                (1..=steps).flat_map(|step| [Fault::CrashBefore(step), Fault::CrashAfter(step)]),
            );
            pending.push(Fault::Duplicates);
            pending.extend((0..REORDERS).map(Fault::Reorder));
        }
    }
    Ok(Exploration { steps, runs })
}

async fn explore_one(
    build: &Arc<impl Fn(App) -> App + Send + Sync + 'static>,
    fault: Fault,
    act: &impl AsyncFn(&TestApp) -> TestResult,
    check: &impl AsyncFn(&TestApp) -> TestResult,
) -> TestResult<u64> {
    let build = build.clone();
    let mut app = TestApp::start_with(fault, move |app| build(app)).await?;
    let acted = async {
        unless_it_panics("act", act(&app)).await?;
        Ok(app.settle().await?)
    };
    let acted: TestResult = acted.await;
    let steps = app.chaos().steps();
    match acted {
        Ok(()) => {}
        Err(_) if app.chaos().is_dead() => {
            app.crash().await?;
            unless_it_panics("act", act(&app)).await?;
            app.settle().await?;
        }
        Err(error) => return Err(error),
    }
    app.chaos().spare();
    unless_it_panics("check", check(&app)).await?;
    Ok(steps)
}

/// A panic, as that of an `assert!`, becomes an error: the run that it failed has a name.
async fn unless_it_panics(part: &str, run: impl Future<Output = TestResult>) -> TestResult {
    match AssertUnwindSafe(run).catch_unwind().await {
        Ok(done) => done,
        Err(panic) => Err(format!("`{part}` panicked: {}", message_of(panic)).into()),
    }
}
