//! No key holds up another, seen through an app: whatever one does, the handlers of others run.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ensue::engine::{GroupStatus, SharedEngine};
use ensue::prelude::*;
use ensue::testing::TestApp;
use ensue::{HandlerOptions, OnDead};
use tokio::sync::Semaphore;

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "step.taken", topic = "steps", key = walker)]
struct StepTaken {
    walker: String,
    number: usize,
    /// To make it large.
    note: String,
}

/// What a slow handler waits for, and what was handled.
#[derive(Clone, Default)]
struct Gate {
    open: Arc<Mutex<Option<Arc<Semaphore>>>>,
    slow: Arc<AtomicUsize>,
    quick: Arc<AtomicUsize>,
}

impl Gate {
    fn permits(&self) -> Arc<Semaphore> {
        let mut open = self.open.lock().unwrap();
        open.get_or_insert_with(|| Arc::new(Semaphore::new(0)))
            .clone()
    }

    /// Handles an event: each of a slow walker needs a permit.
    async fn handle(self, step: StepTaken) {
        if step.walker == "quick" {
            self.quick.fetch_add(1, Ordering::SeqCst);
            return;
        }
        self.permits().acquire().await.unwrap().forget();
        self.slow.fetch_add(1, Ordering::SeqCst);
    }
}

struct Case {
    in_flight_max: usize,
    concurrency: usize,
    slow_keys: usize,
    events: usize,
    bytes: usize,
    /// So many events of slow keys are let through before the other one has to have been.
    permits: usize,
}

/// Events of slow keys come first; each of them ends only when the test lets it.
async fn others_are_handled(case: Case) {
    let gate = Gate::default();
    let handled = gate.clone();
    let (in_flight_max, concurrency) = (case.in_flight_max, case.concurrency);
    let app = TestApp::start(move |app| {
        let gate = handled.clone();
        let app = app
            .workers(2)
            .in_flight_max(in_flight_max)
            .concurrency(concurrency);
        let options = HandlerOptions::default().timeout(Duration::from_secs(100_000));
        app.on_with("watch", options, move |step: StepTaken, _| {
            gate.clone().handle(step)
        })
    })
    .await
    .unwrap();
    let step = |walker: String, number: usize, bytes: usize| {
        let note = "x".repeat(bytes);
        Outgoing::new(StepTaken {
            walker,
            number,
            note,
        })
    };
    let mut all = Vec::new();
    for number in 0..case.events {
        for key in 0..case.slow_keys {
            all.push(step(format!("slow{key}"), number, case.bytes));
        }
        if all.len() >= 1_000 || all.len() * case.bytes > (16 << 20) {
            app.publisher()
                .publish_all(std::mem::take(&mut all))
                .await
                .unwrap();
        }
    }
    all.push(step("quick".into(), 0, 0));
    app.publisher().publish_all(all).await.unwrap();
    // A slow event at a time, each of which takes 4 ms.
    for permitted in 0..case.permits {
        gate.permits().add_permits(1);
        while gate.slow.load(Ordering::SeqCst) <= permitted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        app.clock().advance(Duration::from_millis(4));
    }
    let waiting = async {
        while gate.quick.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            app.clock().advance(Duration::from_millis(4));
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(
        waited.is_ok(),
        "{} slow events were handled, and the other one was not",
        case.permits
    );
    // The rest comes too.
    let rest = case.events * case.slow_keys - case.permits;
    gate.permits().add_permits(rest);
    app.settle().await.unwrap();
    assert_eq!(
        gate.slow.load(Ordering::SeqCst),
        case.events * case.slow_keys
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_key_with_20_000_events_does_not_hold_up_another() {
    others_are_handled(Case {
        in_flight_max: 8_192,
        concurrency: 256,
        slow_keys: 1,
        events: 20_000,
        bytes: 0,
        permits: 16,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_little_room_keys_take_turns() {
    for (in_flight_max, concurrency) in [(1, 1), (2, 1), (20, 2)] {
        others_are_handled(Case {
            in_flight_max,
            concurrency,
            slow_keys: 1,
            events: 3_000,
            bytes: 0,
            permits: 64,
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_slow_keys_than_handlers_run_at_once_do_not_hold_up_another() {
    others_are_handled(Case {
        in_flight_max: 100,
        concurrency: 4,
        slow_keys: 12,
        events: 1_500,
        bytes: 0,
        permits: 200,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_key_with_large_events_does_not_hold_up_another() {
    others_are_handled(Case {
        in_flight_max: 8_192,
        concurrency: 256,
        slow_keys: 1,
        events: 100,
        bytes: 1 << 20,
        permits: 16,
    })
    .await;
}

const PARKED_MAX: usize = 100;
const OTHERS: usize = 50;
/// Fewer than are put aside: what is in hands is not counted there.
const IN_FLIGHT_MAX: usize = 20;

async fn group_of(engine: &SharedEngine) -> GroupStatus {
    let status = engine.status().await.unwrap();
    status.group("watch").unwrap().clone()
}

/// Of the walker `bad` events fail; those of others are counted and have to go on.
async fn others_go_on_beside(bad: usize, options: HandlerOptions, failure: fn() -> Failure) {
    let url = format!("memory:?parked_max={PARKED_MAX}&key_events_max=20");
    let engine = ensue::connect(&url).await.unwrap();
    let others = Arc::new(AtomicUsize::new(0));
    let counted = others.clone();
    let app = App::new(engine.clone()).in_flight_max(IN_FLIGHT_MAX);
    let app = app.on_with("watch", options, move |step: StepTaken, _| {
        let others = counted.clone();
        async move {
            if step.walker == "bad" {
                return Err(failure());
            }
            others.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let running = app.start().await.unwrap();
    let publisher = Publisher::new(engine.clone(), "/test");
    let publish = async |walker: &str, count: usize| {
        let step = |number| StepTaken {
            walker: walker.into(),
            number,
            note: String::new(),
        };
        let all = (0..count).map(|number| Outgoing::new(step(number)));
        publisher.publish_all(all).await.unwrap();
    };
    publish("bad", bad).await;
    publish("other", OTHERS).await;
    let waiting = async {
        loop {
            let group = group_of(&engine).await;
            let is_rest = group.lag == 0 && group.in_flight == 0;
            if is_rest && others.load(Ordering::SeqCst) == OTHERS {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    let (handled, group) = (others.load(Ordering::SeqCst), group_of(&engine).await);
    assert!(waited.is_ok(), "{handled} of others, {group:?}");
    assert_eq!(group.dead + group.parked + group.retrying, bad, "{group:?}");
    assert_eq!(group.paused, None);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_keeps_retrying_with_more_than_the_limit_behind_it_does_not_hold_up_others() {
    let hour = Duration::from_secs(3_600);
    let options = HandlerOptions::default().attempts(20).backoff(hour, hour);
    let failure = || Failure::from(std::io::Error::other("it is away"));
    others_go_on_beside(20 * PARKED_MAX, options, failure).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_skipped_dead_letters_than_the_limit_do_not_hold_up_others() {
    let options = HandlerOptions::default().on_dead(OnDead::Skip);
    let failure = || Failure::reject(std::io::Error::other("never"));
    others_go_on_beside(3 * PARKED_MAX, options, failure).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_turn_is_not_time_that_the_handler_takes() {
    let timeout = Duration::from_secs(10);
    let options = HandlerOptions::default()
        .concurrency(1)
        .attempts(1)
        .timeout(timeout);
    let quick = Arc::new(AtomicUsize::new(0));
    let counted = quick.clone();
    let app = TestApp::start(move |app| {
        let counted = counted.clone();
        app.workers(1)
            .on_with("turns", options.clone(), move |step: StepTaken, _| {
                let counted = counted.clone();
                async move {
                    if step.walker != "quick" {
                        std::future::pending::<()>().await;
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            })
    })
    .await
    .unwrap();
    let steps = ["hangs", "hangs too", "quick"].map(|walker| StepTaken {
        walker: walker.to_owned(),
        number: 0,
        note: String::new(),
    });
    app.publisher().publish_all(steps).await.unwrap();
    app.advance(timeout * 2).await.unwrap();
    app.settle().await.unwrap();
    assert_eq!(quick.load(Ordering::SeqCst), 1);
    let dead = app.dead_letters("turns").await.unwrap();
    let [first, second] = dead.as_slice() else {
        panic!("{dead:?}")
    };
    assert_eq!(
        (first.key.as_str(), second.key.as_str()),
        ("hangs", "hangs too")
    );
    let between = second.died.since(first.died);
    assert_eq!(between, timeout, "each turn has all of its time");
}
