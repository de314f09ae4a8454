//! A group that is moved back: what becomes of the effects and the state of what it handles again.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use ensue::engine::{ReplayEffects, ReplayState, Reset};
use ensue::prelude::*;
use ensue::testing::TestApp;
use ensue::{HandlerOptions, Start};

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "step.taken", topic = "steps", key = walker)]
struct StepTaken {
    walker: String,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[event(type = "step.counted", topic = "counts", key = walker)]
struct StepCounted {
    walker: String,
    total: u32,
}

/// Counts steps, each ten times until it is mended.
#[derive(Clone, Default)]
struct Counter {
    is_mended: Arc<AtomicBool>,
    held_back: Arc<AtomicU32>,
}

impl Counter {
    async fn app(&self) -> TestApp {
        let counter = self.clone();
        TestApp::start(move |app| {
            let counter = counter.clone();
            let options = HandlerOptions::default();
            app.on_with(
                "count",
                options,
                move |step: StepTaken, context: Context| {
                    let counter = counter.clone();
                    async move {
                        let more = match counter.is_mended.load(Ordering::SeqCst) {
                            true => 1,
                            false => 10,
                        };
                        let held_back = u32::from(context.is_held_back());
                        counter.held_back.fetch_add(held_back, Ordering::SeqCst);
                        let total: u32 = context.named_state("total").await?.unwrap_or(0) + more;
                        let counted = StepCounted {
                            walker: step.walker,
                            total,
                        };
                        let reminder =
                            Outgoing::new(counted.clone()).after(Duration::from_secs(3600));
                        Ok::<_, Failure>(
                            Effects::none()
                                .set_named_state("total", total)
                                .publish(counted)
                                .publish(reminder),
                        )
                    }
                },
            )
        })
        .await
        .unwrap()
    }
}

async fn walk(app: &TestApp, steps: u32) {
    for _ in 0..steps {
        let walker = "w".to_owned();
        app.publish(StepTaken { walker }).await.unwrap();
    }
    app.settle().await.unwrap();
}

async fn totals(app: &TestApp) -> Vec<u32> {
    let counted = app.events::<StepCounted>().await.unwrap();
    counted.iter().map(|it| it.total).collect()
}

async fn scheduled(app: &TestApp) -> usize {
    app.engine().status().await.unwrap().scheduled
}

async fn reset(app: &TestApp, reset: Reset) {
    app.engine().reset("count", reset).await.unwrap();
    app.settle().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_of_what_is_handled_again_are_held_back_and_state_starts_afresh() {
    let counter = Counter::default();
    let app = counter.app().await;
    walk(&app, 3).await;
    assert_eq!(totals(&app).await, [10, 20, 30]);
    counter.is_mended.store(true, Ordering::SeqCst);
    let earliest = Reset::to(Start::Earliest);
    let undecided = app
        .engine()
        .reset("count", earliest.clone())
        .await
        .unwrap_err();
    assert!(undecided.to_string().contains("cells: 1"), "{undecided}");
    reset(&app, earliest.state(ReplayState::Afresh)).await;
    assert_eq!(counter.held_back.load(Ordering::SeqCst), 3);
    assert_eq!(totals(&app).await, [10, 20, 30], "nothing was appended");
    assert_eq!(scheduled(&app).await, 3, "nothing was scheduled");
    walk(&app, 1).await;
    assert_eq!(totals(&app).await, [10, 20, 30, 4], "its state was rebuilt");
    assert_eq!(counter.held_back.load(Ordering::SeqCst), 3);
    assert_eq!(scheduled(&app).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_of_what_is_handled_again_are_published_when_asked_to_and_only_once() {
    let counter = Counter::default();
    let mut app = counter.app().await;
    walk(&app, 3).await;
    counter.is_mended.store(true, Ordering::SeqCst);
    let again = Reset::to(Start::Earliest)
        .effects(ReplayEffects::Publish)
        .state(ReplayState::Afresh);
    reset(&app, again.clone()).await;
    assert_eq!(totals(&app).await, [10, 20, 30, 1, 2, 3]);
    assert_eq!(counter.held_back.load(Ordering::SeqCst), 0);
    app.crash().await.unwrap();
    app.settle().await.unwrap();
    assert_eq!(totals(&app).await.len(), 6, "a crash repeats nothing");
    let kept = again.state(ReplayState::Keep);
    reset(&app, kept).await;
    assert_eq!(totals(&app).await, [10, 20, 30, 1, 2, 3, 4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_handled_before_has_its_effects_whatever_lies_around_it() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = is_mended.clone();
    let app = TestApp::start(move |app| {
        let mended = mended.clone();
        app.on("count", move |step: StepTaken| {
            let is_refused = step.walker == "bad" && !mended.load(Ordering::SeqCst);
            async move {
                match is_refused {
                    true => Err(Failure::reject("not yet")),
                    false => Ok(StepCounted {
                        walker: step.walker,
                        total: 1,
                    }),
                }
            }
        })
    })
    .await
    .unwrap();
    for walker in ["good", "bad", "good"] {
        let walker = walker.to_owned();
        app.publish(StepTaken { walker }).await.unwrap();
    }
    app.settle().await.unwrap();
    assert_eq!(app.dead_letters("count").await.unwrap().len(), 1);
    is_mended.store(true, Ordering::SeqCst);
    reset(&app, Start::Earliest.into()).await;
    let counted = app.events::<StepCounted>().await.unwrap();
    let walkers: Vec<&str> = counted.iter().map(|it| it.walker.as_str()).collect();
    assert_eq!(walkers, ["good", "good", "bad"]);
    assert!(app.dead_letters("count").await.unwrap().is_empty());
}

#[derive(Clone)]
struct Before;

#[service(name = "count")]
impl Before {
    #[on]
    async fn counts(&self, step: StepTaken) -> StepCounted {
        let walker = step.walker;
        StepCounted { walker, total: 1 }
    }
}

#[derive(Clone)]
struct After;

#[service(name = "count")]
impl After {
    #[on]
    async fn adds_up(&self, step: StepTaken) -> StepCounted {
        let walker = step.walker;
        StepCounted { walker, total: 1 }
    }
}

#[derive(Clone)]
struct Elsewhere;

#[service(name = "tally")]
impl Elsewhere {
    #[on]
    async fn counts(&self, step: StepTaken) -> StepCounted {
        let walker = step.walker;
        StepCounted { walker, total: 1 }
    }
}

/// The id of what follows from one and the same event.
async fn id_of_effect(service: impl Service + Clone) -> String {
    let app = TestApp::start(move |app| app.service(service.clone()));
    let app = app.await.unwrap();
    let walker = "a".to_owned();
    let step = Outgoing::new(StepTaken { walker }).id("step-1");
    app.publish(step).await.unwrap();
    app.settle().await.unwrap();
    let counts = ensue::engine::Query {
        topics: Some("counts".parse().unwrap()),
        ..ensue::engine::Query::default()
    };
    let mut counted = app.engine().read(counts);
    let first = counted.next().await.unwrap().unwrap();
    first.envelope.id().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_keep_their_ids_when_a_handler_is_renamed_and_get_others_when_its_service_is() {
    let before = id_of_effect(Before).await;
    assert_eq!(before, id_of_effect(After).await, "dedup knows them");
    assert_ne!(before, id_of_effect(Elsewhere).await, "another group");
}
