//! What dispatch promises, seen through an app on the memory engine.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod layers;
mod service_options;
mod settled;
mod stopping;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ensue::engine::{DeadLetterFilter, DeathCause, Guarantee};
use ensue::middleware::{Middleware, Next, from_fn};
use ensue::prelude::*;
use ensue::testing::TestApp;
use ensue::{EventTracer, Handler, HandlerOptions, OnDead, ServiceOptions, Start, TraceContext};
use tokio::sync::Notify;

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "step.taken", topic = "steps", key = walker)]
struct StepTaken {
    walker: String,
    number: u32,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "step.counted", topic = "counts", key = walker)]
struct StepCounted {
    walker: String,
    total: u32,
}

fn step(walker: &str, number: u32) -> StepTaken {
    StepTaken {
        walker: walker.into(),
        number,
    }
}

/// As other systems write it.
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

type Seen = Arc<Mutex<Vec<StepTaken>>>;

async fn publish_steps(app: &TestApp, walkers: u32, steps: u32) {
    let all = (0..steps).flat_map(|n| (0..walkers).map(move |w| step(&format!("w{w}"), n)));
    let all: Vec<_> = all.map(Outgoing::new).collect();
    app.publisher().publish_all(all).await.unwrap();
}

fn assert_in_order(seen: &Seen, walkers: u32, steps: u32) {
    let mut by_walker: HashMap<String, Vec<u32>> = HashMap::new();
    for step in seen.lock().unwrap().iter() {
        by_walker
            .entry(step.walker.clone())
            .or_default()
            .push(step.number);
    }
    assert_eq!(by_walker.len() as u32, walkers);
    for (walker, numbers) in by_walker {
        assert_eq!(numbers, (0..steps).collect::<Vec<_>>(), "{walker}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_keeps_its_order_while_handlers_wait() {
    let seen = Seen::default();
    let seen_by_handler = seen.clone();
    let app = TestApp::start(move |app| {
        let seen = seen_by_handler.clone();
        app.on("watch", move |step: StepTaken| {
            let seen = seen.clone();
            async move {
                // Real time, a little and not the same for all: neighbours overtake each other.
                tokio::time::sleep(Duration::from_micros(u64::from(step.number * 7 % 300))).await;
                seen.lock().unwrap().push(step);
            }
        })
    })
    .await
    .unwrap();
    publish_steps(&app, 20, 50).await;
    app.settle().await.unwrap();
    assert_in_order(&seen, 20, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_keeps_its_order_across_retries_and_others_go_on() {
    let seen = Seen::default();
    let attempts = Arc::new(Mutex::new(HashMap::<(String, u32), u32>::new()));
    let (seen_by_handler, attempts_by_handler) = (seen.clone(), attempts.clone());
    let app = TestApp::start(move |app| {
        let (seen, attempts) = (seen_by_handler.clone(), attempts_by_handler.clone());
        app.on("watch", move |step: StepTaken| {
            let (seen, attempts) = (seen.clone(), attempts.clone());
            async move {
                let mut attempts = attempts.lock().unwrap();
                let attempt = attempts
                    .entry((step.walker.clone(), step.number))
                    .or_default();
                *attempt += 1;
                if step.number.is_multiple_of(3) && *attempt < 3 {
                    return Err(Failure::retry("stumbled"));
                }
                seen.lock().unwrap().push(step);
                Ok(())
            }
        })
    })
    .await
    .unwrap();
    publish_steps(&app, 8, 30).await;
    app.settle().await.unwrap();
    assert_in_order(&seen, 8, 30);
    assert!(
        attempts
            .lock()
            .unwrap()
            .iter()
            .all(|((_, n), tries)| *tries == if n.is_multiple_of(3) { 3 } else { 1 })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_read_back_by_the_keys_next_event_and_survives_a_crash() {
    let mut app = TestApp::start(|app| {
        app.on_with(
            "count",
            HandlerOptions::default(),
            |step: StepTaken, context: Context| async move {
                let total: u32 = context.named_state("total").await?.unwrap_or(0) + 1;
                let counted = StepCounted {
                    walker: step.walker,
                    total,
                };
                Ok::<_, Failure>(
                    Effects::none()
                        .set_named_state("total", total)
                        .publish(counted),
                )
            },
        )
    })
    .await
    .unwrap();
    publish_steps(&app, 3, 100).await;
    app.settle().await.unwrap();
    app.crash().await.unwrap();
    publish_steps(&app, 3, 1).await;
    app.settle().await.unwrap();
    let mut totals = HashMap::new();
    for counted in app.events::<StepCounted>().await.unwrap() {
        let last = totals
            .insert(counted.walker.clone(), counted.total)
            .unwrap_or(0);
        assert_eq!(counted.total, last + 1, "{}", counted.walker);
    }
    assert!(
        totals.len() == 3 && totals.values().all(|total| *total == 101),
        "{totals:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_wait_longer_each_time_and_end_in_a_dead_letter_that_parks_its_key() {
    let app = TestApp::start(|app| {
        let options = HandlerOptions::default()
            .attempts(4)
            .backoff(Duration::from_secs(1), Duration::from_secs(60));
        app.on_with("watch", options, |step: StepTaken, _| async move {
            if step.walker == "bad" {
                Err(Failure::retry("always"))
            } else {
                Ok(())
            }
        })
    })
    .await
    .unwrap();
    let begun = app.clock().now();
    for number in 0..3 {
        app.publish(step("bad", number)).await.unwrap();
        app.publish(step("good", number)).await.unwrap();
    }
    app.settle().await.unwrap();
    // 1 s, 2 s and 4 s, each of which jitter may halve.
    let waited = app.clock().now().since(begun);
    assert!((3.5..=7.0).contains(&waited.as_secs_f64()), "{waited:?}");
    let dead = app.dead_letters("watch").await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].attempts, dead[0].cause, dead[0].parked),
        (4, DeathCause::Exhausted, 2)
    );
    assert_eq!(dead[0].reason, "always");
    let status = app.engine().status().await.unwrap();
    assert!(
        status.group("watch").unwrap().is_idle(),
        "the good walker is done"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_redriven_in_front_of_what_waited_behind_it() {
    let seen = Seen::default();
    let is_healed = Arc::new(AtomicBool::new(false));
    let (seen_by_handler, healed) = (seen.clone(), is_healed.clone());
    let app = TestApp::start(move |app| {
        let (seen, healed) = (seen_by_handler.clone(), healed.clone());
        app.on("watch", move |step: StepTaken| {
            let (seen, healed) = (seen.clone(), healed.clone());
            async move {
                if step.number == 1 && !healed.load(Ordering::SeqCst) {
                    return Err(Failure::reject("not yet"));
                }
                seen.lock().unwrap().push(step);
                Ok(())
            }
        })
    })
    .await
    .unwrap();
    publish_steps(&app, 5, 4).await;
    app.settle().await.unwrap();
    assert_eq!(app.dead_letters("watch").await.unwrap().len(), 5);
    assert_eq!(seen.lock().unwrap().len(), 5, "only the first step of each");
    is_healed.store(true, Ordering::SeqCst);
    let redriven = app
        .engine()
        .redrive("watch", DeadLetterFilter::default())
        .await
        .unwrap();
    assert_eq!(redriven, 5);
    app.settle().await.unwrap();
    assert_in_order(&seen, 5, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_may_skip_its_dead_letters() {
    let app = TestApp::start(|app| {
        let options = HandlerOptions::default().on_dead(OnDead::Skip);
        app.on_with("watch", options, |step: StepTaken, _| async move {
            if step.number == 0 {
                Err(Failure::reject("no"))
            } else {
                Ok(StepCounted {
                    walker: step.walker,
                    total: step.number,
                })
            }
        })
    })
    .await
    .unwrap();
    publish_steps(&app, 1, 3).await;
    app.settle().await.unwrap();
    assert_eq!(app.dead_letters("watch").await.unwrap().len(), 1);
    assert_eq!(app.events::<StepCounted>().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_counts_as_an_attempt_and_hurts_no_other_event() {
    let app = TestApp::start(|app| {
        let options = HandlerOptions::default().attempts(2);
        app.on_with("watch", options, |step: StepTaken, _| async move {
            assert!(step.walker != "w0", "w0 always trips");
        })
    })
    .await
    .unwrap();
    publish_steps(&app, 4, 2).await;
    app.settle().await.unwrap();
    let dead = app.dead_letters("watch").await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].attempts, 2);
    assert!(
        dead[0].reason.contains("w0 always trips"),
        "{}",
        dead[0].reason
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_never_returns_times_out() {
    let app = TestApp::start(|app| {
        let options = HandlerOptions::default()
            .attempts(2)
            .timeout(Duration::from_secs(10));
        app.on_with("watch", options, |step: StepTaken, _| async move {
            if step.walker == "w0" {
                std::future::pending::<()>().await;
            }
        })
    })
    .await
    .unwrap();
    publish_steps(&app, 2, 1).await;
    app.advance(Duration::from_secs(60)).await.unwrap();
    let dead = app.dead_letters("watch").await.unwrap();
    assert_eq!(dead.len(), 1);
    assert!(
        dead[0].reason.contains("timeout of 10s"),
        "{}",
        dead[0].reason
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocking_handler_leaves_the_event_loop_free() {
    /// How many have begun, and word of each.
    struct Sleeper(Arc<(Mutex<usize>, Condvar)>);
    #[service]
    impl Sleeper {
        #[on(blocking)]
        fn sleep(&self, step: StepTaken) -> StepCounted {
            // Each waits for all: one after the other, none would end.
            let (begun, word) = &*self.0;
            *begun.lock().unwrap() += 1;
            word.notify_all();
            let hang = Duration::from_secs(300);
            let waiting = begun.lock().unwrap();
            let all = word.wait_timeout_while(waiting, hang, |begun| *begun < 20);
            assert!(!all.unwrap().1.timed_out(), "one after the other");
            StepCounted {
                walker: step.walker,
                total: step.number,
            }
        }
    }
    let begun = Arc::new((Mutex::new(0), Condvar::new()));
    let app = TestApp::start(move |app| app.service(Sleeper(begun.clone())))
        .await
        .unwrap();
    publish_steps(&app, 20, 1).await;
    app.settle().await.unwrap();
    assert_eq!(app.events::<StepCounted>().await.unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handlers_concurrency_is_a_limit_over_all_keys() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now_by_handler, most_by_handler) = (now.clone(), most.clone());
    let app = TestApp::start(move |app| {
        let (now, most) = (now_by_handler.clone(), most_by_handler.clone());
        app.on_with(
            "watch",
            HandlerOptions::default().concurrency(3),
            move |_: StepTaken, _| {
                let (now, most) = (now.clone(), most.clone());
                async move {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                }
            },
        )
    })
    .await
    .unwrap();
    publish_steps(&app, 40, 2).await;
    app.settle().await.unwrap();
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_inherit_correlation_and_trace_and_have_ids_that_derive_from_their_cause() {
    let run = || async {
        let app = TestApp::start(|app| {
            app.on("count", |step: StepTaken| async move {
                vec![
                    StepCounted {
                        walker: step.walker.clone(),
                        total: 1,
                    },
                    StepCounted {
                        walker: step.walker,
                        total: 2,
                    },
                ]
            })
        })
        .await
        .unwrap();
        let trace = TRACE.parse().unwrap();
        let cause = Outgoing::new(step("w", 0)).id("cause-1").trace(trace);
        app.publish(cause.extension("tracestate", "vendor=a"))
            .await
            .unwrap();
        app.settle().await.unwrap();
        app.envelopes().await.unwrap()
    };
    let (first, second) = (run().await, run().await);
    let effects = &first[1..];
    assert_eq!(effects.len(), 2);
    assert_ne!(effects[0].id(), effects[1].id());
    for (effect, again) in effects.iter().zip(&second[1..]) {
        assert_eq!(
            effect.id(),
            again.id(),
            "the same cause has the same effects"
        );
        assert_eq!(effect.causation(), Some("cause-1"));
        assert_eq!(effect.correlation(), "cause-1");
        assert_eq!(effect.trace().unwrap().to_string(), TRACE);
        assert_eq!(effect.trace_state(), Some("vendor=a"));
        assert_eq!(effect.source(), "/services/count");
    }
}

/// A total as an older program kept it.
#[derive(State, Serialize, Deserialize)]
#[state(name = "total")]
struct OldTotal(u32);

#[derive(State, Serialize, Deserialize)]
#[state(name = "total", version = 2, previous = OldTotal)]
struct Total {
    sum: u32,
    steps: u32,
}

impl From<OldTotal> for Total {
    fn from(OldTotal(sum): OldTotal) -> Self {
        Self { sum, steps: 1 }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_converted_and_what_a_program_cannot_read_waits_for_one_that_can() {
    let is_old = Arc::new(AtomicBool::new(true));
    let program = is_old.clone();
    let mut app = TestApp::start(move |app| {
        let is_old = program.load(Ordering::SeqCst);
        let options = HandlerOptions::default().attempts(2);
        app.on_with(
            "watch",
            options,
            move |step: StepTaken, context: Context| async move {
                if is_old {
                    let OldTotal(sum) = context.state().await?.unwrap_or(OldTotal(0));
                    let sum = OldTotal(sum + step.number);
                    return Ok::<_, anyhow::Error>(Effects::none().set_state(sum));
                }
                let Total { sum, steps } =
                    context.state().await?.unwrap_or(Total { sum: 0, steps: 0 });
                let (sum, steps) = (sum + step.number, steps + 1);
                Ok(Effects::none().set_state(Total { sum, steps }))
            },
        )
    })
    .await
    .unwrap();
    let run = async |app: &mut TestApp, old: bool, number: u32| {
        is_old.store(old, Ordering::SeqCst);
        app.crash().await.unwrap();
        app.publish(step("w", number)).await.unwrap();
    };
    let total = async |app: &TestApp| {
        let total: Option<Total> = app.engine().state("watch", "steps", "w").await.unwrap();
        total.map(|total| (total.sum, total.steps))
    };
    run(&mut app, true, 10).await;
    app.settle().await.unwrap();
    run(&mut app, false, 1).await;
    app.settle().await.unwrap();
    assert_eq!(total(&app).await, Some((11, 2)));

    // The older program again, for longer than its attempts.
    run(&mut app, true, 2).await;
    app.advance(Duration::from_secs(600)).await.unwrap();
    let status = app.engine().status().await.unwrap();
    let group = status.group("watch").unwrap();
    assert_eq!((group.dead, group.retrying), (0, 1), "{group:?}");

    run(&mut app, false, 3).await;
    app.settle().await.unwrap();
    assert_eq!(total(&app).await, Some((16, 4)));
    assert!(app.dead_letters("watch").await.unwrap().is_empty());

    let engine = app.engine();
    let totals: Vec<(String, Total)> = engine.states("watch", "steps", None, 0).await.unwrap();
    let keys: Vec<&str> = totals.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["w"]);
    let unknown = engine.state::<Total>("wach", "steps", "w").await;
    let unknown = unknown.map(drop).unwrap_err();
    let why = std::error::Error::source(&unknown).unwrap().to_string();
    assert!(why.contains("no group `wach`, there are `watch`"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_refuses_to_start_without_a_guarantee_that_it_needs_and_names_the_handler() {
    let engine = ensue::connect("memory:?durability=os").await.unwrap();
    let options = HandlerOptions::default().needs(Guarantee::DurableOnAcknowledge);
    let app = App::new(engine).on_with("ledger", options, |_: StepTaken, _| async {});
    let described = app.describe();
    assert_eq!(
        described.needed["durability before acknowledgement"],
        ["ledger.step.taken"]
    );
    let error = app.start().await.unwrap_err().to_string();
    assert!(
        error.contains("ledger.step.taken") && error.contains("durability"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_names_events_without_a_handler() {
    let engine = ensue::connect("memory:").await.unwrap();
    let handler = Handler::new(
        "count",
        HandlerOptions::default(),
        |_: StepTaken, _| async {},
    );
    let app = App::new(engine)
        .handler("counter", handler.publishes(&[StepCounted::TYPE]))
        .publishes::<StepTaken>();
    let described = app.describe();
    assert_eq!(described.unhandled, ["step.counted"]);
    let text = described.to_string();
    assert!(
        text.contains("step.taken (steps) -> count -> step.counted"),
        "{text}"
    );
    assert!(text.contains("no service handles step.counted"), "{text}");
}
